package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

// send makes a request whose body or answer is data. The caller closes the answer's body.
func (c *Client) send(ctx context.Context, method, path string, body []byte, kind string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+"/v1"+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("making the request: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", kind)
	}
	return c.do(req)
}

func dataQuery(off, n int64, hold string) string {
	query := url.Values{"offset": {strconv.FormatInt(off, 10)}}
	if n >= 0 {
		query.Set("length", strconv.FormatInt(n, 10))
	}
	if hold != "" {
		query.Set("hold", hold)
	}
	return "?" + query.Encode()
}

func snapshotPath(id, what string) string { return "/snapshots/" + url.PathEscape(id) + "/" + what }

func (c *Client) readData(ctx context.Context, path string, p []byte, off int64) error {
	resp, err := c.send(ctx, http.MethodGet, path+dataQuery(off, int64(len(p)), ""), nil, "")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.ReadFull(resp.Body, p); err != nil {
		return c.lost(ctx, fmt.Errorf("reading data: %w", err))
	}
	return nil
}

func (c *Client) listExtents(ctx context.Context, path string, off, n int64) ([]Extent, error) {
	var all []Extent
	for end := off + n; ; {
		list, err := call[ExtentList](ctx, c, http.MethodGet, path+dataQuery(off, end-off, ""), nil)
		if err != nil {
			return nil, err
		}
		all = append(all, list.Extents...)
		if list.Next >= end {
			return all, nil
		}
		if list.Next <= off {
			return nil, &UnreachableError{Address: c.address, Err: errors.New("its list of extents does not go on")}
		}
		off = list.Next
	}
}

// ReadVolume implements Backend.
func (c *Client) ReadVolume(ctx context.Context, volume string, p []byte, off int64) error {
	return c.readData(ctx, volumePath(volume, "data"), p, off)
}

// ReadSnapshot implements Backend.
func (c *Client) ReadSnapshot(ctx context.Context, id string, p []byte, off int64) error {
	return c.readData(ctx, snapshotPath(id, "data"), p, off)
}

// VolumeExtents implements Backend.
func (c *Client) VolumeExtents(ctx context.Context, volume string, off, n int64) ([]Extent, error) {
	return c.listExtents(ctx, volumePath(volume, "extents"), off, n)
}

// SnapshotExtents implements Backend.
func (c *Client) SnapshotExtents(ctx context.Context, id string, off, n int64) ([]Extent, error) {
	return c.listExtents(ctx, snapshotPath(id, "extents"), off, n)
}

// WriteVolume implements Backend.
func (c *Client) WriteVolume(ctx context.Context, volume, hold string, p []byte, off int64) error {
	resp, err := c.send(ctx, http.MethodPut, volumePath(volume, "data")+dataQuery(off, -1, hold), p, "application/octet-stream")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, maxBody)); err != nil {
		return c.lost(ctx, fmt.Errorf("reading the answer: %w", err))
	}
	return nil
}

// ZeroVolume implements Backend.
func (c *Client) ZeroVolume(ctx context.Context, volume, hold string, off, n int64) error {
	_, err := call[struct{}](ctx, c, http.MethodPost, volumePath(volume, "zero")+dataQuery(off, n, hold), nil)
	return err
}

// MarkVolume implements Backend.
func (c *Client) MarkVolume(ctx context.Context, volume, hold string, mark Mark) error {
	_, err := call[struct{}](ctx, c, http.MethodPost, volumePath(volume, "mark")+"?hold="+url.QueryEscape(hold), mark)
	return err
}

// HoldVolume implements Backend.
func (c *Client) HoldVolume(ctx context.Context, volume string, req HoldRequest, use func(context.Context, Hold) error) error {
	return keeping(ctx, c, volumePath(volume, "hold"), req, use)
}

// KeepMoment implements Backend.
func (c *Client) KeepMoment(ctx context.Context, volume string, use func(context.Context, Snapshot) error) error {
	return keeping(ctx, c, volumePath(volume, "moment"), struct{}{}, use)
}

// keeping makes a request that lasts as long as use runs. If the daemon ends it first, so does the context of use.
func keeping[T any](ctx context.Context, c *Client, path string, req any, use func(context.Context, T) error) error {
	body, err := json.Marshal(req)
	if err != nil {
		return fmt.Errorf("encoding the request: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	resp, err := c.send(ctx, http.MethodPost, path, body, "application/json") //nolint:bodyclose // it is, below
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer T
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxBody)).Decode(&answer); err != nil {
		return c.lost(ctx, fmt.Errorf("reading the answer: %w", err))
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, err := io.Copy(io.Discard, resp.Body) // ends when the daemon ends it, or we
		cancel(&UnreachableError{Address: c.address, Err: fmt.Errorf("it ended the request: %w", errors.Join(err, io.EOF))})
	}()
	err = use(ctx, answer)
	if cause := context.Cause(ctx); err != nil && errors.Is(err, context.Canceled) && cause != nil {
		err = cause
	}
	cancel(nil)
	<-ended
	return err
}
