package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"sluice/object"
)

// GetRange implements object.Store.
func (s *Store) GetRange(ctx context.Context, key string, off, n int64) ([]byte, string, error) {
	fail := func(err error, transient bool) ([]byte, string, error) {
		return nil, "", &object.Error{Op: object.OpGetRange, Key: key, Err: err, Transient: transient}
	}
	if err := object.CheckKey(key); err != nil {
		return fail(err, false)
	}
	if off < 0 {
		return fail(fmt.Errorf("negative offset %d", off), false)
	}
	if n == 0 {
		return s.getNothing(ctx, key, math.MaxInt64)
	}
	in := &s3.GetObjectInput{Bucket: &s.opts.Bucket, Key: aws.String(s.prefix + key)}
	if r := rangeHeader(off, n); r != "" {
		in.Range = &r
	}
	out, err := s.client.GetObject(ctx, in)
	if statusOf(err) == http.StatusRequestedRangeNotSatisfiable {
		return s.getNothing(ctx, key, off)
	}
	if err != nil {
		return nil, "", s.fail(ctx, object.OpGetRange, key, err)
	}
	defer func() { _ = out.Body.Close() }() // all that was wanted has been read
	etag, err := etagOf(object.OpGetRange, key, out.ETag)
	if err != nil {
		return nil, "", err
	}
	a, err := newAnswer(out)
	if err != nil {
		return fail(err, errors.Is(err, errCut))
	}
	skip, size, err := a.locate(off, n)
	if err != nil {
		return fail(err, false)
	}
	data, err := readExactly(out.Body, skip, size)
	if err != nil && ctx.Err() != nil {
		return fail(ctx.Err(), false)
	}
	if err != nil {
		return fail(err, true)
	}
	return data, etag, nil
}

// getNothing answers for a range that holds no bytes, because none were asked for or
// because the server says that the object ends at or before from. The object must confirm it.
func (s *Store) getNothing(ctx context.Context, key string, from int64) ([]byte, string, error) {
	info, err := s.Stat(ctx, key)
	if e, ok := errors.AsType[*object.Error](err); ok {
		e.Op = object.OpGetRange
	}
	if err == nil && info.Size > from {
		err = &object.Error{
			Op: object.OpGetRange, Key: key, Transient: true,
			Err: fmt.Errorf("the server says that byte %d is behind the end, and that there are %d bytes", from, info.Size),
		}
	}
	if err != nil {
		return nil, "", err
	}
	return nil, info.ETag, nil
}

// rangeHeader writes the range as RFC 9110, section 14.1.2, has it; the whole object
// needs none, and an empty object could not satisfy one.
func rangeHeader(off, n int64) string {
	switch {
	case off == 0 && n < 0:
		return ""
	case n < 0 || n > math.MaxInt64-off:
		return fmt.Sprintf("bytes=%d-", off)
	default:
		return fmt.Sprintf("bytes=%d-%d", off, off+n-1)
	}
}

// answer is what the headers of a GET's answer say about its body.
type answer struct {
	start int64 // of the body's first byte in the object
	size  int64 // of the body
	total int64 // size of the object
}

// errCut says that something on the way has made an answer shorter.
var errCut = errors.New("not the whole answer")

func newAnswer(out *s3.GetObjectOutput) (answer, error) {
	resp, ok := awsmiddleware.GetRawResponse(out.ResultMetadata).(*smithyhttp.Response)
	if !ok {
		return answer{}, errors.New("the SDK keeps no raw response")
	}
	size := resp.ContentLength
	if size < 0 {
		return answer{}, errors.New("the answer has no Content-Length")
	}
	switch resp.StatusCode {
	case http.StatusOK: // the whole object, whatever was asked for
		return answer{size: size, total: size}, nil
	case http.StatusPartialContent:
		start, end, total, err := parseContentRange(resp.Header.Get("Content-Range"))
		if err != nil {
			return answer{}, err
		}
		if end-start != size {
			return answer{}, fmt.Errorf("%w: Content-Range %d-%d with a Content-Length of %d", errCut, start, end-1, size)
		}
		return answer{start: start, size: size, total: total}, nil
	default:
		return answer{}, fmt.Errorf("unexpected status %q", resp.Status)
	}
}

// locate returns how many bytes of the body to skip, and how many then to read, to get n
// bytes from off (all of the rest if n < 0).
func (a answer) locate(off, n int64) (skip, size int64, err error) {
	if off >= a.total {
		return 0, 0, nil
	}
	size = a.total - off
	if n >= 0 {
		size = min(size, n)
	}
	if size > object.MaxBody {
		return 0, 0, fmt.Errorf("%d bytes at once are more than %d", size, object.MaxBody)
	}
	if a.start > off || a.start+a.size < off+size {
		return 0, 0, fmt.Errorf("asked for %d bytes from %d of %d, got %d from %d", size, off, a.total, a.size, a.start)
	}
	return off - a.start, size, nil
}

// parseContentRange parses "bytes 0-99/1000" (RFC 9110, section 14.4) into a half-open
// interval and the size of the object, which must be given.
func parseContentRange(s string) (start, end, total int64, err error) {
	bad := func() (int64, int64, int64, error) {
		return 0, 0, 0, fmt.Errorf("the answer to a range has Content-Range %.100q", s)
	}
	rest, ok := strings.CutPrefix(s, "bytes ")
	if !ok {
		return bad()
	}
	interval, size, ok := strings.Cut(rest, "/")
	if !ok {
		return bad()
	}
	first, last, ok := strings.Cut(interval, "-")
	if !ok {
		return bad()
	}
	var errs [3]error
	start, errs[0] = parseDigits(first)
	end, errs[1] = parseDigits(last)
	total, errs[2] = parseDigits(size)
	if errors.Join(errs[:]...) != nil || start > end || end >= total {
		return bad()
	}
	return start, end + 1, total, nil
}

// parseDigits parses a number without sign.
func parseDigits(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	return int64(n), err
}

// readExactly skips and then reads so many bytes into a buffer of just that size.
func readExactly(body io.Reader, skip, size int64) ([]byte, error) {
	if _, err := io.CopyN(io.Discard, body, skip); err != nil {
		return nil, fmt.Errorf("the answer was cut short: %w", err)
	}
	data := make([]byte, size)
	if n, err := io.ReadFull(body, data); err != nil {
		return nil, fmt.Errorf("the answer was cut short after %d of %d bytes: %w", skip+int64(n), skip+size, err)
	}
	return data, nil
}
