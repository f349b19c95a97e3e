package s3

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"sluice/object"
)

// fail makes an *object.Error out of what the SDK returned.
func (s *Store) fail(ctx context.Context, op object.Op, key string, err error) error {
	if ctx.Err() != nil { // whatever the SDK makes of it
		return &object.Error{Op: op, Key: key, Err: ctx.Err()}
	}
	kind, transient := classify(op, err)
	switch {
	case kind == nil:
		err = short(err)
	case errors.Is(kind, object.ErrRefused):
		err = fmt.Errorf("%w: %w", kind, short(err))
	default:
		err = kind // says all there is to say
	}
	return &object.Error{Op: op, Key: key, Err: err, Transient: transient}
}

// classify tells what a failed request means: one of object's sentinel errors or nil, and
// whether it is transient. It is called only while the caller's context lives, so a
// time-out is one of the connection.
func classify(op object.Op, err error) (kind error, transient bool) {
	if _, ok := errors.AsType[*credentialsError](err); ok {
		return object.ErrRefused, false
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return object.ErrRefused, false
	}
	status := statusOf(err)
	if status == 0 {
		return nil, isNetwork(err)
	}
	code := ""
	if apiErr, ok := errors.AsType[smithy.APIError](err); ok {
		code = apiErr.ErrorCode()
	}
	if kind, transient, ok := classifyCode(op, code); ok {
		return kind, transient
	}
	return classifyStatus(op, status)
}

// classifyCode knows the codes that say more than their HTTP status.
func classifyCode(op object.Op, code string) (kind error, transient, ok bool) { //nolint:staticcheck // kind is what it finds, no failure of it
	switch code {
	case "PreconditionFailed":
		return object.ErrPrecondition, false, true
	case "ConditionalRequestConflict":
		// Another conditional write was under way: most likely it won.
		return object.ErrPrecondition, false, op == object.OpPutIf
	case "NoSuchKey":
		if op == object.OpPutIf {
			// If-Match on an object that is not there.
			return object.ErrPrecondition, false, true
		}
		return object.ErrNotFound, false, true
	case "NoSuchBucket", "PermanentRedirect", "AuthorizationHeaderMalformed":
		return object.ErrRefused, false, true // the last two: wrong region
	case "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestTimeTooSkewed", "RequestExpired":
		return nil, true, true // credentials get renewed, clocks set
	case "RequestTimeout", "SlowDown", "Throttling", "ThrottlingException", "InternalError",
		"IncompleteBody", "BadDigest", "XAmzContentSHA256Mismatch":
		return nil, true, true // the last three: the body was damaged on its way
	}
	return nil, false, false
}

func classifyStatus(op object.Op, status int) (kind error, transient bool) {
	switch status {
	case http.StatusPreconditionFailed:
		return object.ErrPrecondition, false
	case http.StatusConflict:
		if op == object.OpPutIf {
			return object.ErrPrecondition, false
		}
		return nil, true
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusMovedPermanently:
		return object.ErrRefused, false
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusTemporaryRedirect,
		http.StatusNotFound: // of something else than a key: a proxy between its deployments
		return nil, true
	case http.StatusBadRequest:
		if op == object.OpStat {
			// The answer to a HEAD has no code: an expired token, as far as is known.
			return object.ErrRefused, false
		}
	case http.StatusNotImplemented:
		return nil, false
	}
	return nil, status >= 500
}

// statusOf returns the HTTP status of a failed request, or 0 if there was no answer.
func statusOf(err error) int {
	if re, ok := errors.AsType[*smithyhttp.ResponseError](err); ok && re.Response != nil {
		return re.HTTPStatusCode()
	}
	return 0
}

// isNetwork tells failures on the way from those of making the request.
func isNetwork(err error) bool {
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	if _, ok := errors.AsType[*url.Error](err); ok {
		return true
	}
	if _, ok := errors.AsType[*smithyhttp.RequestSendError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*smithy.DeserializationError](err); ok {
		return true // the answer makes no sense, the next one may
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// short says in one line what went wrong, without the SDK's own chain of "operation error
// S3: ..." (object.Error says what was being done) but with the server's code and words.
func short(err error) error {
	apiErr, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		if sendErr, ok := errors.AsType[*smithyhttp.RequestSendError](err); ok {
			return sendErr.Err
		}
		if opErr, ok := errors.AsType[*smithy.OperationError](err); ok {
			return opErr.Err
		}
		return err
	}
	text := fmt.Sprintf("%s (HTTP status %d", apiErr.ErrorCode(), statusOf(err))
	if re, ok := errors.AsType[*awshttp.ResponseError](err); ok && re.ServiceRequestID() != "" {
		text += ", request " + re.ServiceRequestID()
	}
	text += ")"
	if message := apiErr.ErrorMessage(); message != "" {
		text += ": " + message
	}
	return errors.New(text)
}

// credentialsError says that the SDK found no credentials to sign with.
type credentialsError struct{ err error }

func (e *credentialsError) Error() string {
	return fmt.Sprintf("no usable AWS credentials (set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role): %v", e.err)
}

func (e *credentialsError) Unwrap() error { return e.err }

// taggedCredentials makes failures of the credential chain recognizable.
type taggedCredentials struct{ next aws.CredentialsProvider }

// Retrieve implements aws.CredentialsProvider.
func (t taggedCredentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	c, err := t.next.Retrieve(ctx)
	if err != nil {
		return c, &credentialsError{err}
	}
	return c, nil
}
