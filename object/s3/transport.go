package s3

import (
	"net"
	"net/http"
	"time"
)

// newTransport returns connections for many parallel requests to one host.
func newTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         dialer.DialContext,
		TLSHandshakeTimeout: 10 * time.Second,

		// For what is not under object.Retry, which has deadlines of its own. The time
		// begins when the whole request has been sent.
		ResponseHeaderTimeout: 60 * time.Second,
		ExpectContinueTimeout: time.Second,

		// The standard 2 would dial anew for most requests of a busy gateway.
		MaxIdleConns:        128,
		MaxIdleConnsPerHost: 64,
		IdleConnTimeout:     90 * time.Second,

		// Few system calls for large bodies. Reads of bodies larger than the buffer go
		// straight into the caller's memory.
		WriteBufferSize: 256 << 10,
		ReadBufferSize:  64 << 10,

		// Ranges and lengths are those of what is stored.
		DisableCompression: true,
	}
}
