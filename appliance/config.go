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
	LogLevel         slog.Level    `yaml:"log-level"`

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
		LogLevel:         slog.LevelInfo,
	}
}

// The least that a gateway can work with: several segments of each kind.
const (
	minUploadBuffer = 64 * api.MiB
	minCache        = 64 * api.MiB

	minInitiatorTimeout = 5 * time.Second
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
	return errors.Join(problems...)
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
