package image

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	headerTime = 30 * time.Second // for an HTTP server to begin its answer
	rangeTime  = 5 * time.Minute  // for one range
	rangeTries = 6
)

// remote is an image on an HTTP server that answers ranges.
type remote struct {
	client    *http.Client
	url       *url.URL
	size      int64
	validator string // of this content; empty if the server gives none
	header    string // the request's header that it goes into
	pause     time.Duration
}

func openURL(ctx context.Context, name string, o Options) (*Image, error) {
	u, err := url.Parse(name)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("image %q is not a URL", name)
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, ResponseHeaderTimeout: headerTime, MaxIdleConnsPerHost: parallel,
		DialContext: (&net.Dialer{Timeout: headerTime}).DialContext, TLSHandshakeTimeout: headerTime,
		DisableCompression: true, // we want the bytes of the image
	}
	r := &remote{client: &http.Client{Transport: transport}, url: u, pause: cmp.Or(o.pause, time.Second)}
	resp, err := r.ask(ctx)
	if err != nil {
		return nil, fmt.Errorf("opening image %s: %w", u.Redacted(), err)
	}
	if resp.StatusCode == http.StatusOK {
		return r.stream(resp, o)
	}
	if err := resp.Body.Close(); err != nil {
		return nil, fmt.Errorf("opening image %s: %w", u.Redacted(), err)
	}
	format := o.Format
	if format == "" {
		head, tail := make([]byte, min(r.size, headLength)), make([]byte, min(r.size, headLength))
		if err := errors.Join(r.ReadAt(ctx, head, 0), r.ReadAt(ctx, tail, r.size-int64(len(tail)))); err != nil {
			return nil, err
		}
		format = Detect(head, tail)
	}
	if format == Raw {
		return &Image{Format: Raw, Source: r, Size: r.size, Exact: true}, nil
	}
	if o.SHA256 != "" {
		return nil, fmt.Errorf("the checksum of a %s image at a URL is not checked: download it first", format)
	}
	disk, err := openQEMU(ctx, format, name)
	if err != nil {
		return nil, err
	}
	return &Image{Format: format, Source: &qemuURL{disk, r}, Size: disk.Size()}, nil
}

// qemuURL is an image at a URL that QEMU reads.
type qemuURL struct {
	*qemuSource
	remote *remote
}

// Identity implements Source.
func (q *qemuURL) Identity() string { return q.remote.Identity() }

// Unchanged implements Source: QEMU does not look, so we do.
func (q *qemuURL) Unchanged() error {
	return q.remote.ReadAt(context.Background(), make([]byte, 1), 0)
}

// ask asks for the first byte. The answer is 206, and what it says of the image is noted; or 200 if the server does not
// answer ranges.
func (r *remote) ask(ctx context.Context) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Range", "bytes=0-0")
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, withoutURL(err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	err = fmt.Errorf("the server answers %s", resp.Status)
	if resp.StatusCode == http.StatusPartialContent {
		_, total, ok := strings.Cut(resp.Header.Get("Content-Range"), "bytes 0-0/")
		if r.size, err = strconv.ParseInt(total, 10, 64); !ok || err != nil || r.size <= 0 {
			err = fmt.Errorf("the server does not say how large it is: Content-Range: %q", resp.Header.Get("Content-Range"))
		}
	}
	if err != nil {
		return nil, errors.Join(err, resp.Body.Close())
	}
	if tag := resp.Header.Get("ETag"); tag != "" && !strings.HasPrefix(tag, "W/") {
		r.validator, r.header = tag, "If-Match"
	} else if modified := resp.Header.Get("Last-Modified"); modified != "" {
		r.validator, r.header = modified, "If-Unmodified-Since"
	}
	return resp, nil
}

// stream makes an image of a server that does not answer ranges.
func (r *remote) stream(resp *http.Response, o Options) (*Image, error) {
	o.Stdin = resp.Body // its end closes it
	i, err := openStream(o)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("image %s, of a server that does not answer ranges: %w", r.url.Redacted(), err), resp.Body.Close())
	}
	i.Size = resp.ContentLength
	return i, nil
}

// withoutURL drops the address from an error, which may hold a password.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// Size implements Source.
func (r *remote) Size() int64 { return r.size }

// Extent implements Source: a server does not tell where there is data.
func (r *remote) Extent(_ context.Context, off int64) (bool, int64, error) {
	return true, r.size - off, nil
}

// Identity implements Source.
func (r *remote) Identity() string {
	if r.validator == "" {
		return ""
	}
	return fmt.Sprintf("url %s size %d version %s", r.url.Redacted(), r.size, r.validator)
}

// Unchanged implements Source: each range was asked for of the version that was opened.
func (r *remote) Unchanged() error { return nil }

// Close implements Source.
func (r *remote) Close() error {
	r.client.CloseIdleConnections()
	return nil
}

// errFinal says that to ask again is of no use.
var errFinal = errors.New("")

// ReadAt implements Source. It asks again where the connection or the server failed, for about half a minute.
func (r *remote) ReadAt(ctx context.Context, p []byte, off int64) error {
	var err error
	for try, pause := 0, r.pause; try < rangeTries; try, pause = try+1, 2*pause {
		if err = r.readRange(ctx, p, off); err == nil {
			return nil
		}
		if ctx.Err() != nil || errors.Is(err, errFinal) {
			break
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
	return fmt.Errorf("reading image %s at byte %d: %w", r.url.Redacted(), off, err)
}

func (r *remote) readRange(ctx context.Context, p []byte, off int64) error {
	ctx, cancel := context.WithTimeout(ctx, rangeTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url.String(), nil)
	if err != nil {
		return err
	}
	end := off + int64(len(p)) - 1
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", off, end))
	if r.validator != "" {
		req.Header.Set(r.header, r.validator)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return withoutURL(err)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusPreconditionFailed:
		return fmt.Errorf("it has changed on the server%w", errFinal)
	case resp.StatusCode >= 500, resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode == http.StatusRequestTimeout:
		return fmt.Errorf("the server answers %s", resp.Status)
	case resp.StatusCode != http.StatusPartialContent:
		return fmt.Errorf("the server answers %s%w", resp.Status, errFinal)
	}
	if got, want := resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-%d/%d", off, end, r.size); got != want {
		return fmt.Errorf("the server answers with range %q instead of %q%w", got, want, errFinal)
	}
	if _, err := io.ReadFull(resp.Body, p); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	return nil
}
