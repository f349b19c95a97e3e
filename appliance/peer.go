package appliance

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"sluice/volume"
	"sluice/volume/mirror"
)

// peering is this gateway's part in keeping what is not uploaded on two disks: what it mirrors for its peer, and the peer that mirrors for it.
type peering struct {
	store   *mirror.Store // what peers mirror here
	client  *http.Client  // nil: this gateway has no peer
	url     string
	server  *http.Server // nil: nobody mirrors here
	serving sync.WaitGroup
}

const (
	// peerTime bounds one request to a peer: it has at most a few megabytes and syncs them. A peer that takes longer is asked again.
	peerTime = 15 * time.Second
	// peerIdle is after what time a connection to the peer that nothing is sent over is closed.
	peerIdle = 5 * time.Minute
)

// openPeering opens the mirror in dir, and listens for peers if the configuration says so.
func openPeering(ctx context.Context, cfg Config, dir string, log *slog.Logger, failed func(error)) (*peering, error) {
	p := &peering{url: "https://" + cfg.Peer}
	var err error
	if p.store, err = mirror.OpenStore(dir, int64(cfg.MirrorSize)); err != nil {
		return nil, err
	}
	if cfg.Peer == "" && cfg.PeerListen == "" {
		return p, nil
	}
	identity, err := peerIdentity(cfg)
	if err != nil {
		return nil, err
	}
	if cfg.Peer != "" {
		p.client = &http.Client{Timeout: peerTime, Transport: &http.Transport{
			TLSClientConfig: identity, ForceAttemptHTTP2: true, IdleConnTimeout: peerIdle, MaxIdleConnsPerHost: 16,
		}}
	}
	if cfg.PeerListen == "" {
		return p, nil
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", cfg.PeerListen)
	if err != nil {
		return nil, fmt.Errorf("listening for peers: %w", err)
	}
	p.server = &http.Server{
		Handler: mirror.Handler(p.store, log), TLSConfig: identity, ReadHeaderTimeout: peerTime, ReadTimeout: 4 * peerTime, WriteTimeout: 4 * peerTime,
		IdleTimeout: 2 * peerIdle, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	p.serving.Go(func() {
		if err := p.server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
			failed(fmt.Errorf("serving peers on %s: %w", listener.Addr(), err))
		}
	})
	return p, nil
}

// peerIdentity returns how both sides of a connection prove who they are: each has a certificate of the same authority.
func peerIdentity(cfg Config) (*tls.Config, error) {
	own, err := tls.LoadX509KeyPair(cfg.PeerCert, cfg.PeerKey)
	if err != nil {
		return nil, fmt.Errorf("peer-cert and peer-key: %w", err)
	}
	pem, err := os.ReadFile(cfg.PeerCA)
	if err != nil {
		return nil, fmt.Errorf("peer-ca: %w", err)
	}
	authority := x509.NewCertPool()
	if !authority.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("peer-ca: there is no certificate in %s", cfg.PeerCA)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{own}, RootCAs: authority,
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: authority,
	}, nil
}

// mirror returns the peer of volumes, or nil.
func (p *peering) mirror() volume.Mirror {
	if p.client == nil {
		return nil
	}
	return mirror.NewClient(p.url, p.client)
}

// close lets requests that run end.
func (p *peering) close(ctx context.Context) error {
	if p.client != nil {
		p.client.CloseIdleConnections()
	}
	if p.server == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	err := p.server.Shutdown(ctx)
	if err != nil {
		err = p.server.Close()
	}
	p.serving.Wait()
	return err
}
