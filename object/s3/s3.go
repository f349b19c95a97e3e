package s3

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"sluice/object"
)

// Options says which bucket to use and how to talk to its server.
type Options struct {
	Bucket        string
	Prefix        string // before every key, with a slash between; may be empty
	Endpoint      string // URL of the server; empty means AWS
	Region        string // empty means what the SDK finds, or us-east-1 at an Endpoint
	PathStyle     bool   // http://host/bucket/key instead of http://bucket.host/key
	NoChecksums   bool   // send no CRC32C of bodies, for servers that refuse it
	UnquotedETags bool   // send ETags without quotes in conditions, for servers that want that
}

// Store is an object.Store in a bucket.
type Store struct {
	client *s3.Client
	http   *http.Client
	opts   Options
	prefix string // of every key in the bucket: "" or "something/"
}

var _ object.Store = (*Store)(nil)

// Open prepares a client. It may ask the sources of credentials that the SDK knows, but
// makes no request to the bucket: object.Probe does.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Bucket == "" {
		return nil, errors.New("open s3 store: no bucket given")
	}
	prefix := strings.Trim(o.Prefix, "/")
	if prefix != "" {
		if err := object.CheckKey(prefix); err != nil {
			return nil, fmt.Errorf("open s3 store: prefix: %w", err)
		}
		prefix += "/"
	}
	var load []func(*config.LoadOptions) error
	if o.Region != "" {
		load = append(load, config.WithRegion(o.Region))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, fmt.Errorf("open s3 store: load the AWS configuration: %w", err)
	}
	if cfg.Region == "" && o.Endpoint == "" {
		return nil, errors.New("open s3 store: no region: give one in the store URL, in AWS_REGION or in the AWS profile")
	}
	hc := &http.Client{
		Transport: newTransport(),
		// A redirect means a wrong region or endpoint; following it would drop the signature.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	client := s3.NewFromConfig(cfg, func(so *s3.Options) {
		so.HTTPClient = hc
		so.Retryer = aws.NopRetryer{}
		so.UsePathStyle = o.PathStyle
		so.Credentials = taggedCredentials{so.Credentials}
		so.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		so.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		if o.Endpoint != "" {
			so.BaseEndpoint = aws.String(o.Endpoint)
		}
		if so.Region == "" {
			so.Region = "us-east-1"
		}
	})
	return &Store{client: client, http: hc, opts: o, prefix: prefix}, nil
}

// Close closes idle connections. The store must not be used any more.
func (s *Store) Close() error {
	s.http.CloseIdleConnections()
	return nil
}

// Put implements object.Store.
func (s *Store) Put(ctx context.Context, key string, body []byte) (string, error) {
	return s.put(ctx, object.OpPut, key, body, func(*s3.PutObjectInput) {})
}

// PutIf implements object.Store.
func (s *Store) PutIf(ctx context.Context, key string, body []byte, match string) (string, error) {
	return s.put(ctx, object.OpPutIf, key, body, func(in *s3.PutObjectInput) {
		if match == "" {
			in.IfNoneMatch = aws.String("*")
		} else {
			in.IfMatch = aws.String(s.quote(match))
		}
	})
}

func (s *Store) put(ctx context.Context, op object.Op, key string, body []byte, condition func(*s3.PutObjectInput)) (string, error) {
	if err := object.CheckKey(key); err != nil {
		return "", &object.Error{Op: op, Key: key, Err: err}
	}
	in := &s3.PutObjectInput{
		Bucket: &s.opts.Bucket, Key: aws.String(s.prefix + key),
		Body: bytes.NewReader(body), ContentLength: aws.Int64(int64(len(body))),
	}
	if !s.opts.NoChecksums {
		in.ChecksumCRC32C = aws.String(crc32c(body))
	}
	condition(in)
	out, err := s.client.PutObject(ctx, in, func(so *s3.Options) {
		so.APIOptions = append(so.APIOptions, v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)
	})
	if err != nil {
		return "", s.fail(ctx, op, key, err)
	}
	return etagOf(op, key, out.ETag)
}

// Stat implements object.Store.
func (s *Store) Stat(ctx context.Context, key string) (object.Info, error) {
	if err := object.CheckKey(key); err != nil {
		return object.Info{}, &object.Error{Op: object.OpStat, Key: key, Err: err}
	}
	out, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.opts.Bucket, Key: aws.String(s.prefix + key)})
	if err != nil {
		return object.Info{}, s.failHead(ctx, key, err)
	}
	if out.ContentLength == nil {
		return object.Info{}, &object.Error{Op: object.OpStat, Key: key, Err: errors.New("the answer has no Content-Length")}
	}
	etag, err := etagOf(object.OpStat, key, out.ETag)
	if err != nil {
		return object.Info{}, err
	}
	return object.Info{Key: key, Size: *out.ContentLength, ETag: etag, ModTime: aws.ToTime(out.LastModified)}, nil
}

// failHead classifies the failure of a HEAD. Its answer has no body, so a 404 does not
// say whether the key or the whole bucket is missing, and the bucket must be asked for.
func (s *Store) failHead(ctx context.Context, key string, err error) error {
	if statusOf(err) != http.StatusNotFound {
		return s.fail(ctx, object.OpStat, key, err)
	}
	if _, err := s.client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &s.opts.Bucket}); err != nil {
		if statusOf(err) == http.StatusNotFound {
			err = fmt.Errorf("%w: there is no bucket %q", object.ErrRefused, s.opts.Bucket)
			return &object.Error{Op: object.OpStat, Key: key, Err: err}
		}
		return s.fail(ctx, object.OpStat, key, err)
	}
	return &object.Error{Op: object.OpStat, Key: key, Err: object.ErrNotFound}
}

// List implements object.Store, a thousand objects to a request. Objects with names that
// are no valid keys are somebody else's and left out.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[object.Info, error] {
	return func(yield func(object.Info, error) bool) {
		fail := func(err error) { yield(object.Info{}, err) }
		if err := object.CheckPrefix(prefix); err != nil {
			fail(&object.Error{Op: object.OpList, Key: prefix, Err: err})
			return
		}
		in := &s3.ListObjectsV2Input{Bucket: &s.opts.Bucket, Prefix: aws.String(s.prefix + prefix)}
		if after != "" {
			in.StartAfter = aws.String(s.prefix + after)
		}
		pages := s3.NewListObjectsV2Paginator(s.client, in, func(o *s3.ListObjectsV2PaginatorOptions) {
			o.StopOnDuplicateToken = true
		})
		last := after
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				fail(s.fail(ctx, object.OpList, prefix, err))
				return
			}
			for i := range page.Contents {
				o := &page.Contents[i]
				key := strings.TrimPrefix(aws.ToString(o.Key), s.prefix)
				if object.CheckKey(key) != nil {
					continue
				}
				// Consumers merge listings, so a disordered one would lose objects.
				if key <= last && last != "" {
					fail(&object.Error{Op: object.OpList, Key: prefix, Err: fmt.Errorf("the server lists %q after %q", key, last)})
					return
				}
				last = key
				info := object.Info{Key: key, Size: aws.ToInt64(o.Size), ETag: unquote(aws.ToString(o.ETag)), ModTime: aws.ToTime(o.LastModified)}
				if !yield(info, nil) {
					return
				}
			}
		}
	}
}

// Delete implements object.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := object.CheckKey(key); err != nil {
		return &object.Error{Op: object.OpDelete, Key: key, Err: err}
	}
	_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.opts.Bucket, Key: aws.String(s.prefix + key)})
	if err == nil {
		return nil
	}
	if err = s.fail(ctx, object.OpDelete, key, err); errors.Is(err, object.ErrNotFound) {
		return nil
	}
	return err
}

func crc32c(body []byte) string {
	sum := crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli))
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum))
}

// etagOf takes the ETag out of an answer. Without one there is no telling later what was
// replaced, and an empty one would mean "must not exist" to PutIf, so it is an error.
func etagOf(op object.Op, key string, header *string) (string, error) {
	if etag := unquote(aws.ToString(header)); etag != "" {
		return etag, nil
	}
	return "", &object.Error{Op: op, Key: key, Err: errors.New("the answer has no ETag")}
}

// unquote removes the quotes that most servers, but not all, put around an ETag.
func unquote(etag string) string {
	if n := len(etag); n >= 2 && etag[0] == '"' && etag[n-1] == '"' {
		return etag[1 : n-1]
	}
	return etag
}

// quote writes an ETag as a condition wants it. A weak one (W/"...") goes as it came.
func (s *Store) quote(etag string) string {
	if s.opts.UnquotedETags || strings.HasPrefix(etag, `W/"`) {
		return etag
	}
	return `"` + etag + `"`
}
