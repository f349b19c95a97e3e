package storeurl

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"sluice/object"
	"sluice/object/dir"
	"sluice/object/s3"
)

// Store is an object store that is to be closed.
type Store interface {
	object.Store
	Close() error
}

// Location is a parsed store URL: a directory or a bucket.
type Location struct {
	Dir string      // absolute path; empty if it is a bucket
	S3  *s3.Options // nil if it is a directory
}

// Open opens the store that rawURL names. It makes a missing directory, but does not
// contact an S3 server: object.Probe does.
func Open(ctx context.Context, rawURL string) (Store, error) {
	loc, err := Parse(rawURL)
	if err != nil {
		return nil, err
	}
	if loc.S3 != nil {
		return s3.Open(ctx, *loc.S3)
	}
	return dir.Open(loc.Dir)
}

// Parse parses a store URL without opening anything. Its errors never repeat what might be
// a secret.
func Parse(rawURL string) (Location, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		// The error of url.Parse repeats the whole URL.
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err
		}
		return Location{}, fmt.Errorf("store URL: %w", err)
	}
	if u.User != nil {
		return Location{}, errors.New("store URL: it must not hold a user or a password, since URLs are shown and logged; " +
			"give S3 credentials by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role")
	}
	if u.Fragment != "" {
		return Location{}, errors.New("store URL: '#' has no meaning here; write %23 if it belongs to a name")
	}
	params, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Location{}, fmt.Errorf("store URL: parameters: %w", err)
	}
	switch u.Scheme {
	case "file":
		return parseFile(u, params)
	case "s3":
		return parseS3(u, params)
	case "":
		return Location{}, errors.New("store URL: it must begin with file:// or s3://")
	default:
		return Location{}, fmt.Errorf("store URL: unknown scheme %q: use file:// or s3://", u.Scheme)
	}
}

func parseFile(u *url.URL, params url.Values) (Location, error) {
	if err := checkParams(params); err != nil {
		return Location{}, err
	}
	if u.Host != "" || u.Opaque != "" || !filepath.IsAbs(u.Path) {
		return Location{}, errors.New("store URL: a file URL has three slashes and an absolute path, as in file:///var/lib/sluice/store")
	}
	if strings.ContainsRune(u.Path, 0) {
		return Location{}, errors.New("store URL: the path holds a zero byte")
	}
	return Location{Dir: filepath.Clean(u.Path)}, nil
}

func parseS3(u *url.URL, params url.Values) (Location, error) {
	if err := checkParams(params, "endpoint", "region", "path-style", "checksums", "unquoted-etags"); err != nil {
		return Location{}, err
	}
	if u.Opaque != "" || u.Host == "" || u.Port() != "" {
		return Location{}, errors.New("store URL: an S3 URL names a bucket after two slashes, as in s3://bucket/prefix; a server is given by endpoint=")
	}
	o := &s3.Options{
		Bucket: u.Host, Prefix: strings.Trim(u.Path, "/"),
		Endpoint: params.Get("endpoint"), Region: params.Get("region"),
	}
	if o.Prefix != "" {
		if err := object.CheckKey(o.Prefix); err != nil {
			return Location{}, fmt.Errorf("store URL: prefix: %w", err)
		}
	}
	if err := checkEndpoint(o.Endpoint); err != nil {
		return Location{}, err
	}
	checksums := true
	for name, to := range map[string]*bool{
		"path-style": &o.PathStyle, "checksums": &checksums, "unquoted-etags": &o.UnquotedETags,
	} {
		if !params.Has(name) {
			continue
		}
		value, err := strconv.ParseBool(params.Get(name))
		if err != nil {
			return Location{}, fmt.Errorf("store URL: %s is true or false", name)
		}
		*to = value
	}
	o.NoChecksums = !checksums
	return Location{S3: o}, nil
}

func checkParams(params url.Values, known ...string) error {
	for _, name := range slices.Sorted(maps.Keys(params)) {
		if !slices.Contains(known, name) {
			if len(known) == 0 {
				return fmt.Errorf("store URL: unknown parameter %q: this scheme has none", name)
			}
			return fmt.Errorf("store URL: unknown parameter %q: there are %s", name, strings.Join(known, ", "))
		}
		if len(params[name]) > 1 {
			return fmt.Errorf("store URL: parameter %q is given twice", name)
		}
	}
	return nil
}

func checkEndpoint(endpoint string) error {
	if endpoint == "" {
		return nil
	}
	u, err := url.Parse(endpoint)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return errors.New("store URL: endpoint is a URL such as http://host:9000")
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("store URL: endpoint is only scheme, host and port; credentials come from the environment, a profile or a role")
	}
	return nil
}
