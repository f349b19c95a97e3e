package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
)

const maxAnswer = 64 << 20 // bytes; a status of 10,000 volumes with sessions fits

// UnreachableError says that no daemon answered.
type UnreachableError struct {
	Address string
	Err     error
}

// Error says where it was looked for, and why it was not found.
func (e *UnreachableError) Error() string {
	return fmt.Sprintf("cannot reach the daemon at %s: %v", e.Address, e.Err)
}

// Unwrap returns the cause.
func (e *UnreachableError) Unwrap() error { return e.Err }

// Client speaks to a daemon. It is a Backend, so that what a verb sees is what the daemon's
// own code would. Its methods may be called concurrently.
type Client struct {
	address string // as people write it
	base    string
	token   Secret
	http    *http.Client
}

var _ Backend = (*Client)(nil)

// NewClient returns a client for a daemon at unix:///path/to/socket, at a plain absolute
// path, or at http://host:port; token may be empty. It does not connect yet.
func NewClient(address string, token Secret) (*Client, error) {
	path, isUnix := strings.CutPrefix(address, "unix://")
	if strings.HasPrefix(address, "/") {
		path, isUnix = address, true
	}
	transport := &http.Transport{MaxIdleConnsPerHost: transfers}
	c := &Client{address: address, token: token, http: &http.Client{Transport: transport}}
	if isUnix {
		if !strings.HasPrefix(path, "/") {
			return nil, fmt.Errorf("API address %q: the path of the socket must be absolute, as in unix:///var/lib/sluice/api.sock", address)
		}
		c.base = "http://localhost"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}
		return c, nil
	}
	u, err := url.Parse(address)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || u.RawQuery != "" {
		return nil, errors.New("API address: write unix:///path/to/api.sock or http://host:port")
	}
	c.base = strings.TrimRight(u.Scheme+"://"+u.Host+u.Path, "/")
	return c, nil
}

// call makes a request and decodes the answer. The error is an *UnreachableError, an *Error
// from the daemon, or that of ctx.
func call[T any](ctx context.Context, c *Client, method, path string, body any) (*T, error) {
	var reader io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encoding the request: %w", err)
		}
		reader = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+"/v1"+path, reader)
	if err != nil {
		return nil, fmt.Errorf("making the request: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, c.lost(ctx, fmt.Errorf("reading the answer: %w", err))
	}
	answer := new(T)
	if err := json.Unmarshal(text, answer); err != nil {
		return nil, &UnreachableError{Address: c.address, Err: fmt.Errorf("its answer is not sluice's: %w", err)}
	}
	return answer, nil
}

// do sends a request and returns an answer that is a success. Its error is that of call.
func (c *Client) do(req *http.Request) (*http.Response, error) {
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+string(c.token))
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err
		}
		return nil, c.lost(req.Context(), err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, c.lost(req.Context(), fmt.Errorf("reading the answer: %w", err))
	}
	var document ErrorDocument
	if json.Unmarshal(text, &document) != nil || document.Error == nil {
		return nil, &UnreachableError{Address: c.address, Err: fmt.Errorf("it answers %s, which is not sluice", resp.Status)}
	}
	return nil, document.Error
}

// lost is the error when no answer came: that of ctx if it has ended.
func (c *Client) lost(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return &UnreachableError{Address: c.address, Err: err}
}

func volumePath(name string, more ...string) string {
	parts := []string{"", "volumes", url.PathEscape(name)}
	for _, part := range more {
		parts = append(parts, url.PathEscape(part))
	}
	return strings.Join(parts, "/")
}

// Status implements Backend.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	return call[Status](ctx, c, http.MethodGet, "/status", nil)
}

// CreateVolume implements Backend.
func (c *Client) CreateVolume(ctx context.Context, req CreateRequest) (*Volume, error) {
	return call[Volume](ctx, c, http.MethodPost, "/volumes", req)
}

// ListVolumes implements Backend.
func (c *Client) ListVolumes(ctx context.Context) ([]Volume, error) {
	list, err := call[VolumeList](ctx, c, http.MethodGet, "/volumes", nil)
	if err != nil {
		return nil, err
	}
	return list.Volumes, nil
}

// ShowVolume implements Backend.
func (c *Client) ShowVolume(ctx context.Context, name string) (*Volume, error) {
	return call[Volume](ctx, c, http.MethodGet, volumePath(name), nil)
}

// SetDurability implements Backend.
func (c *Client) SetDurability(ctx context.Context, name string, req DurabilityRequest) (*Volume, error) {
	return call[Volume](ctx, c, http.MethodPut, volumePath(name, "durability"), req)
}

// ResizeVolume implements Backend.
func (c *Client) ResizeVolume(ctx context.Context, name string, req ResizeRequest) (*Volume, error) {
	return call[Volume](ctx, c, http.MethodPatch, volumePath(name), req)
}

// DeleteVolume implements Backend.
func (c *Client) DeleteVolume(ctx context.Context, name string, force bool) error {
	path := volumePath(name)
	if force {
		path += "?force=true"
	}
	_, err := call[struct{}](ctx, c, http.MethodDelete, path, nil)
	return err
}

// AttachVolume implements Backend.
func (c *Client) AttachVolume(ctx context.Context, name string, req AttachRequest) (*Volume, error) {
	return call[Volume](ctx, c, http.MethodPost, volumePath(name, "attach"), req)
}

// DetachVolume implements Backend.
func (c *Client) DetachVolume(ctx context.Context, name string, req DetachRequest) (*Volume, error) {
	return call[Volume](ctx, c, http.MethodPost, volumePath(name, "detach"), req)
}

// ListInitiators implements Backend.
func (c *Client) ListInitiators(ctx context.Context, volume string) (*InitiatorList, error) {
	return call[InitiatorList](ctx, c, http.MethodGet, volumePath(volume, "initiators"), nil)
}

// AllowInitiator implements Backend.
func (c *Client) AllowInitiator(ctx context.Context, volume, initiator string) (*InitiatorList, error) {
	return call[InitiatorList](ctx, c, http.MethodPut, volumePath(volume, "initiators", initiator), nil)
}

// DenyInitiator implements Backend.
func (c *Client) DenyInitiator(ctx context.Context, volume, initiator string) (*InitiatorList, error) {
	return call[InitiatorList](ctx, c, http.MethodDelete, volumePath(volume, "initiators", initiator), nil)
}

// ListCHAP implements Backend.
func (c *Client) ListCHAP(ctx context.Context, volume string) (*CHAPList, error) {
	return call[CHAPList](ctx, c, http.MethodGet, volumePath(volume, "chap"), nil)
}

// SetCHAP implements Backend.
func (c *Client) SetCHAP(ctx context.Context, volume, initiator string, req CHAPRequest) (*CHAPList, error) {
	return call[CHAPList](ctx, c, http.MethodPut, volumePath(volume, "chap", initiator), req)
}

// DeleteCHAP implements Backend.
func (c *Client) DeleteCHAP(ctx context.Context, volume, initiator string) (*CHAPList, error) {
	return call[CHAPList](ctx, c, http.MethodDelete, volumePath(volume, "chap", initiator), nil)
}
