package mirror

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"sluice/volume"
)

// Client sends what volumes have not uploaded to a peer. It implements volume.Mirror, and may be used concurrently.
type Client struct {
	url  string // https://HOST:PORT
	http *http.Client
}

// NewClient returns a client of the peer at a URL.
func NewClient(url string, client *http.Client) *Client {
	return &Client{url: strings.TrimSuffix(url, "/"), http: client}
}

// Append implements volume.Mirror.
func (c *Client) Append(ctx context.Context, a volume.MirrorAppend) error {
	var body []byte
	for _, r := range a.Ranges {
		for len(r.Data) > 0 {
			n := min(len(r.Data), maxRange)
			body = appendRange(body, volume.MirrorRange{Segment: r.Segment, Offset: r.Offset, Data: r.Data[:n]})
			r.Data, r.Offset = r.Data[n:], r.Offset+int64(n)
		}
	}
	url := fmt.Sprintf("%s/v1/mirror/%s/%d?published=%x", c.url, a.Volume, a.Epoch, uint64(a.Published))
	if a.Whole {
		url += "&whole"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("asking the peer: %w", err)
	}
	answer, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("asking the peer: %w", err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 4096))
	switch {
	case answer.StatusCode == http.StatusOK:
		return nil // all that was asked for is done, whatever became of the rest of the answer
	case answer.StatusCode == http.StatusConflict:
		return fmt.Errorf("%w: the peer says: %s", volume.ErrLost, bytes.TrimSpace(text))
	case err != nil:
		return fmt.Errorf("reading the peer's answer: %w", err)
	}
	return fmt.Errorf("the peer answers %s: %s", answer.Status, bytes.TrimSpace(text))
}
