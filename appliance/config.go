package appliance

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"time"

	"sluice/appliance/api"
	"sluice/object/storeurl"
)

// DefaultDataDir is where a gateway keeps its state unless it is told otherwise.
const DefaultDataDir = "/var/lib/sluice"

// Config says how a gateway runs. Setting has the name of each field in the file, in the
// environment and on the command line.
type Config struct {
	DataDir      string        `yaml:"data-dir"`
	Store        string        `yaml:"store"`
	ISCSIListen  string        `yaml:"iscsi-listen"`
	APIListen    string        `yaml:"api-listen"`
	TokenFile    string        `yaml:"token-file"`
	UploadBuffer api.Size      `yaml:"upload-buffer"`
	Cache        api.Size      `yaml:"cache"`
	DrainTimeout time.Duration `yaml:"drain-timeout"`
	// InitiatorTimeout is how long an initiator may be silent; half of that after, it is asked
	// for a sign of life.
	InitiatorTimeout time.Duration `yaml:"initiator-timeout"`
	// Peer mirrors what volumes with the durability "peer" have not uploaded; PeerListen is where this gateway mirrors for others, up to
	// MirrorSize. Both sides prove who they are with a certificate of one authority.
	Peer       string   `yaml:"peer"`
	PeerListen string   `yaml:"peer-listen"`
	PeerCert   string   `yaml:"peer-cert"`
	PeerKey    string   `yaml:"peer-key"`
	PeerCA     string   `yaml:"peer-ca"`
	MirrorSize api.Size `yaml:"mirror-size"`
	// Group, unless it is empty, makes the ownership of volumes a lease of a term, so that a gateway that stands by for the
	// group may take them over; see standby.
	Group      string        `yaml:"group"`
	StandbyFor string        `yaml:"standby-for"`
	Lease      time.Duration `yaml:"lease"`
	LogLevel   slog.Level    `yaml:"log-level"`

	Version string `yaml:"-"` // of the program, to be shown
}

// DefaultConfig returns the settings of a gateway that is told nothing.
func DefaultConfig() Config {
	return Config{
		DataDir:      DefaultDataDir,
		ISCSIListen:  "127.0.0.1:3260",
		UploadBuffer: 10 * api.GiB,
		Cache:        20 * api.GiB,
		DrainTimeout: 20 * time.Second,

		InitiatorTimeout: 60 * time.Second,
		Lease:            15 * time.Second,
		MirrorSize:       10 * api.GiB,
		LogLevel:         slog.LevelInfo,
	}
}

// The least that a gateway can work with: several segments of each kind.
const (
	minUploadBuffer = 64 * api.MiB
	minCache        = 64 * api.MiB

	minInitiatorTimeout = 5 * time.Second
	minLease            = 3 * time.Second
)

// Validate completes c (an empty store is a directory in the data directory) and returns
// everything that is wrong with it, each with what to do.
func (c *Config) Validate() error {
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }

	if c.DataDir == "" {
		bad("data-dir is empty: name the directory for this gateway's state, for example %s", DefaultDataDir)
	} else if dir, err := filepath.Abs(c.DataDir); err != nil {
		bad("data-dir: %w", err)
	} else {
		c.DataDir = dir
	}
	if c.Store == "" && c.DataDir != "" {
		c.Store = "file://" + filepath.Join(c.DataDir, "store")
	}
	if _, err := storeurl.Parse(c.Store); err != nil {
		problems = append(problems, err)
	}
	if err := checkAddress(c.ISCSIListen); err != nil {
		bad("iscsi-listen: %w: write for example 127.0.0.1:3260", err)
	}
	if c.APIListen != "" {
		if err := checkAddress(c.APIListen); err != nil {
			bad("api-listen: %w: write for example 127.0.0.1:3261, or leave it out for the unix socket only", err)
		} else if c.TokenFile == "" && !loopbackAddress(c.APIListen) {
			bad("api-listen %s is not a loopback address, so whoever reaches it needs a token: "+
				"set token-file to a file (mode 0600) that holds one, or listen on 127.0.0.1", c.APIListen)
		}
	}
	if c.UploadBuffer < minUploadBuffer {
		bad("upload-buffer is %s: it must be at least %s", c.UploadBuffer, minUploadBuffer)
	}
	if c.Cache < minCache {
		bad("cache is %s: it must be at least %s", c.Cache, minCache)
	}
	if c.DrainTimeout < 0 {
		bad("drain-timeout is %s: it must not be negative", c.DrainTimeout)
	}
	if c.InitiatorTimeout < minInitiatorTimeout {
		bad("initiator-timeout is %s: it must be at least %s, or busy initiators would be disconnected", c.InitiatorTimeout, minInitiatorTimeout)
	}
	c.validatePeer(bad)
	if c.Group == "" {
		c.Group = c.StandbyFor // what it takes over is to be taken over from it, too
	}
	for _, group := range []string{c.Group, c.StandbyFor} {
		if err := api.CheckName(group); group != "" && err != nil {
			bad("group: %w", err)
		}
	}
	if c.Lease < minLease || c.Lease%time.Second != 0 {
		bad("lease is %s: it must be whole seconds and at least %s", c.Lease, minLease)
	}
	return errors.Join(problems...)
}

func (c *Config) validatePeer(bad func(format string, args ...any)) {
	if c.Peer == "" && c.PeerListen == "" {
		return
	}
	if c.Peer != "" {
		if _, _, err := net.SplitHostPort(c.Peer); err != nil {
			bad("peer: address %q is not HOST:PORT", c.Peer)
		}
	}
	if c.PeerListen != "" {
		if err := checkAddress(c.PeerListen); err != nil {
			bad("peer-listen: %w: write for example 10.0.0.1:3262", err)
		}
	}
	if c.PeerCert == "" || c.PeerKey == "" || c.PeerCA == "" {
		bad("peers prove who they are by TLS certificates: set peer-cert, peer-key and peer-ca to PEM files")
	}
	if c.MirrorSize < minUploadBuffer {
		bad("mirror-size is %s: it must be at least %s", c.MirrorSize, minUploadBuffer)
	}
}

// leaseTerm returns the term of the ownership of volumes; zero: it does not end by itself.
func (c *Config) leaseTerm() time.Duration {
	if c.Group == "" {
		return 0
	}
	return c.Lease
}

// checkAddress also refuses names, which might resolve to anything later.
func checkAddress(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("address %q is not HOST:PORT", address)
	}
	if host != "" && host != "localhost" && net.ParseIP(host) == nil {
		return fmt.Errorf("host %q is not an IP address", host)
	}
	return nil
}

// loopbackAddress tells whether only this machine can connect to a HOST:PORT.
func loopbackAddress(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	return strings.EqualFold(host, "localhost") || net.ParseIP(host).IsLoopback()
}

// SocketPath returns the place of the API's unix socket for a data directory.
func SocketPath(dataDir string) string { return filepath.Join(dataDir, "api.sock") }
