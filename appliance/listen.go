package appliance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"sluice/appliance/api"
)

// listeners are the places where the API answers.
type listeners struct {
	cancel  context.CancelFunc // ends the requests that run
	socket  string
	tcp     net.Addr // nil: none
	servers []*http.Server
	serving sync.WaitGroup
}

// openListeners serves handler on the unix socket of the data directory and, if the
// configuration says so, on TCP. A server that ends by itself is reported to failed.
func openListeners(ctx context.Context, cfg Config, handler http.Handler, log *slog.Logger, failed func(error)) (*listeners, error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // requests end when we say so
	l := &listeners{cancel: cancel, socket: SocketPath(cfg.DataDir)}
	unix, err := listenUnix(ctx, l.socket)
	if err != nil {
		cancel()
		return nil, err
	}
	serve := func(listener net.Listener, handler http.Handler) {
		server := api.NewServer(ctx, handler, log)
		l.servers = append(l.servers, server)
		l.serving.Go(func() {
			if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
				failed(fmt.Errorf("serving the API on %s: %w", listener.Addr(), err))
			}
		})
	}
	serve(unix, handler)
	if cfg.APIListen == "" {
		return l, nil
	}
	var token api.Secret
	if cfg.TokenFile != "" {
		if token, err = api.ReadSecretFile(cfg.TokenFile); err != nil {
			return nil, errors.Join(fmt.Errorf("token-file: %w", err), l.close(ctx))
		}
	}
	tcp, err := new(net.ListenConfig).Listen(ctx, "tcp", cfg.APIListen)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listening for the API: %w", err), l.close(ctx))
	}
	l.tcp = tcp.Addr()
	serve(tcp, api.Guard(handler, token, log))
	return l, nil
}

// requestTime is how long requests that run when the gateway stops may still take.
const requestTime = 2 * time.Second

// close stops listening, gives requests that run a moment, and then cancels them.
func (l *listeners) close(ctx context.Context) error {
	first, stop := context.WithTimeout(ctx, requestTime)
	defer stop()
	var failed error
	for _, server := range l.servers {
		if server.Shutdown(first) == nil {
			continue
		}
		l.cancel()
		last, stop := context.WithTimeout(ctx, requestTime)
		if server.Shutdown(last) != nil {
			failed = errors.Join(failed, server.Close())
		}
		stop()
	}
	l.cancel()
	l.serving.Wait()
	if err := os.Remove(l.socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		failed = errors.Join(failed, err)
	}
	return failed
}

func (l *listeners) addresses() []string {
	all := []string{"unix://" + l.socket}
	if l.tcp != nil {
		all = append(all, "http://"+l.tcp.String())
	}
	return all
}

const maxSocketPath = 107 // bytes of sun_path without the NUL

// listenUnix listens on a socket that only our user may open. It is made in a directory
// that nobody else may enter and then moved to its place, so that there is no moment when
// others could connect, and one that a killed daemon left is replaced. The caller
// holds the lock of the data directory.
func listenUnix(ctx context.Context, path string) (net.Listener, error) {
	closed, err := os.MkdirTemp(filepath.Dir(path), ".api-")
	if err != nil {
		return nil, fmt.Errorf("making the API's socket: %w", err)
	}
	defer func() { _ = os.RemoveAll(closed) }() // a leftover does no harm
	made := filepath.Join(closed, "s")
	if len(made) > maxSocketPath || len(path) > maxSocketPath {
		return nil, fmt.Errorf("the path of the API's socket, %s, is too long for the kernel: use a shorter data directory, at most %d characters",
			path, maxSocketPath-len("/.api-0123456789/s"))
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "unix", made)
	if err != nil {
		return nil, fmt.Errorf("listening for the API: %w", err)
	}
	if unix, ok := listener.(*net.UnixListener); ok {
		unix.SetUnlinkOnClose(false) // it is not there any more
	}
	if err := os.Chmod(made, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("protecting the API's socket: %w", err), listener.Close())
	}
	if err := os.Rename(made, path); err != nil {
		return nil, errors.Join(fmt.Errorf("placing the API's socket: %w", err), listener.Close())
	}
	return listener, nil
}
