package hostilestore

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/test/s3server"
)

// Proxy passes requests on to an S3 server, or does with them what a Fault says.
type Proxy struct {
	endpoint string // of the proxy
	server   *s3server.Server
	fault    atomic.Pointer[Fault]
	hits     atomic.Int64
}

// Fault answers a request in place of the proxy, or has pass do it.
type Fault func(w http.ResponseWriter, r *Request)

// Request is a request of the gateway, read whole.
type Request struct {
	*http.Request
	body  []byte
	proxy *Proxy
}

// Answer is what the server said.
type Answer struct {
	Code   int
	Header http.Header
	Body   []byte
}

// NewProxy starts a proxy that passes everything. It ends with the test.
func NewProxy(t testing.TB, server *s3server.Server) *Proxy {
	t.Helper()
	p := &Proxy{server: server}
	front := httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(front.Close)
	t.Cleanup(front.CloseClientConnections)
	t.Cleanup(func() { p.Set(nil) })
	p.endpoint = front.URL
	return p
}

// URL returns the store URL of a prefix of the server's bucket, by way of the proxy.
func (p *Proxy) URL(prefix string) string {
	return strings.Replace(p.server.URL(prefix), p.server.Endpoint, p.endpoint, 1)
}

// Set puts a fault in place, and nil an end to it.
func (p *Proxy) Set(f Fault) {
	p.hits.Store(0)
	if f == nil {
		p.fault.Store(nil)
		return
	}
	p.fault.Store(&f)
}

// Hits returns how many requests came since Set.
func (p *Proxy) Hits() int64 { return p.hits.Load() }

func (p *Proxy) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the gateway gave up
	}
	p.hits.Add(1)
	req := &Request{Request: r, body: body, proxy: p}
	if f := p.fault.Load(); f != nil {
		(*f)(w, req)
		return
	}
	Pass(w, req)
}

// Pass passes a request on, and its answer back.
func Pass(w http.ResponseWriter, r *Request) {
	if a, err := r.Ask(); err == nil {
		a.Send(w)
	} else {
		Reset(w)
	}
}

// Ask asks the server. The host that the request was signed for is left as it is.
func (r *Request) Ask() (*Answer, error) {
	out, err := http.NewRequestWithContext(r.Context(), r.Method, r.proxy.server.Endpoint+r.URL.RequestURI(), bytes.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	out.Header = r.Header.Clone()
	out.Host = r.Host
	resp, err := transport.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if r.Method == http.MethodHead {
		return &Answer{Code: resp.StatusCode, Header: resp.Header}, nil
	}
	resp.Header.Set("Content-Length", fmt.Sprint(len(body)))
	return &Answer{Code: resp.StatusCode, Header: resp.Header, Body: body}, nil
}

var transport = &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64, ResponseHeaderTimeout: time.Minute}

// Send answers the gateway.
func (a *Answer) Send(w http.ResponseWriter) {
	maps.Copy(w.Header(), a.Header)
	w.WriteHeader(a.Code)
	_, _ = w.Write(a.Body) // the gateway may have given up
}

// Reset cuts the connection without an answer.
func Reset(w http.ResponseWriter) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
