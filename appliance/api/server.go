package api

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// NewServer returns an HTTP server for a handler with bounds on what a client can make
// it spend. The requests' contexts derive from ctx: when it ends, they give up.
func NewServer(ctx context.Context, handler http.Handler, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       2 * time.Minute, // no WriteTimeout: a detach answers when its upload is done
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
}
