package appliance

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// Setting is one field of a Config under the name that it has everywhere: --data-dir on
// the command line, SLUICE_DATA_DIR in the environment, data-dir in the file.
type Setting struct {
	Name  string
	Usage string
	Value Value
}

// Env returns the setting's name in the environment.
func (s Setting) Env() string {
	return "SLUICE_" + strings.ToUpper(strings.ReplaceAll(s.Name, "-", "_"))
}

// Value reads and prints a field of a Config; it is what command line packages call a flag
// value.
type Value interface {
	Set(text string) error
	String() string
	Type() string // for the help
}

// Settings returns all settings of a Config, bound to its fields.
func (c *Config) Settings() []Setting {
	return []Setting{
		{"data-dir", "directory for this gateway's state", (*text)(&c.DataDir)},
		{
			"store", "object store: file:///path or s3://bucket/prefix?endpoint=http://host:port&region=R&path-style=true (default: a directory in the data directory)",
			&named{(*text)(&c.Store), "URL"},
		},
		{"iscsi-listen", "address of the iSCSI portal", &named{(*text)(&c.ISCSIListen), "ADDR"}},
		{"api-listen", "TCP address of the API, beside the unix socket in the data directory", &named{(*text)(&c.APIListen), "ADDR"}},
		{"token-file", "file (mode 0600) with the token that API requests over TCP must carry", (*text)(&c.TokenFile)},
		{"upload-buffer", "local space for what is accepted and not yet in the bucket", &c.UploadBuffer},
		{"cache", "local space for copies of what is in the bucket", &c.Cache},
		{"drain-timeout", "how long initiators have to log out when the gateway stops", (*duration)(&c.DrainTimeout)},
		{"initiator-timeout", "after what silence an initiator is disconnected; half of that after, it is asked for a sign of life", (*duration)(&c.InitiatorTimeout)},
		{"peer", "gateway that mirrors what volumes with the durability peer have not uploaded", &named{(*text)(&c.Peer), "HOST:PORT"}},
		{"peer-listen", "address where this gateway mirrors for others", &named{(*text)(&c.PeerListen), "ADDR"}},
		{"peer-cert", "PEM file with this gateway's certificate, for both sides of peering", (*text)(&c.PeerCert)},
		{"peer-key", "PEM file with the key of peer-cert", (*text)(&c.PeerKey)},
		{"peer-ca", "PEM file with the authority whose certificates peers have", (*text)(&c.PeerCA)},
		{"mirror-size", "local space for what peers mirror here", &c.MirrorSize},
		{"group", "name of a group of gateways: the volumes served here are leased, and a standby of the group takes them over", &named{(*text)(&c.Group), "NAME"}},
		{"standby-for", "group whose volumes to take over from gateways that give no sign of life; implies --group", &named{(*text)(&c.StandbyFor), "NAME"}},
		{"lease", "with a group: how long after its last sign of life in the bucket a gateway goes on serving; a standby waits a fifth longer", (*duration)(&c.Lease)},
		{"log-level", "debug, info, warn or error", &marshalled{&c.LogLevel, "LEVEL"}},
	}
}

// Load returns the configuration that follows from a file (unless its path is empty), the
// environment and the command line; the later win over the earlier, and all over the
// defaults. flags holds the settings that were given on the command line. The result is not
// validated.
func Load(path string, getenv func(string) string, flags map[string]string) (Config, error) {
	c := DefaultConfig()
	if path != "" {
		if err := c.readFile(path); err != nil {
			return c, err
		}
	}
	for _, s := range c.Settings() {
		if value := getenv(s.Env()); value != "" {
			if err := s.Value.Set(value); err != nil {
				return c, fmt.Errorf("environment variable %s: %w", s.Env(), err)
			}
		}
		if value, ok := flags[s.Name]; ok {
			if err := s.Value.Set(value); err != nil {
				return c, fmt.Errorf("--%s: %w", s.Name, err)
			}
		}
	}
	return c, nil
}

func (c *Config) readFile(path string) error {
	body, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading the configuration: %w", err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(body), yaml.Strict(), yaml.DisallowUnknownField())
	if err := decoder.Decode(c); err != nil && !errors.Is(err, io.EOF) { // EOF: nothing but comments
		return fmt.Errorf("configuration %s: %s", path, yaml.FormatError(err, false, true))
	}
	return nil
}

// text is a Value of any text.
type text string

func (t *text) Set(s string) error { *t = text(s); return nil }
func (t *text) String() string     { return string(*t) }
func (*text) Type() string         { return "PATH" }

// named is a Value with another name in the help.
type named struct {
	Value
	name string
}

func (n *named) Type() string { return n.name }

// duration is a Value such as 20s.
type duration time.Duration

func (d *duration) Set(s string) error {
	parsed, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("%q is not a duration: write for example 20s", s)
	}
	*d = duration(parsed)
	return nil
}
func (d *duration) String() string { return time.Duration(*d).String() }
func (*duration) Type() string     { return "DURATION" }

// marshalled is a Value that knows its own text.
type marshalled struct {
	value interface {
		encoding.TextUnmarshaler
		fmt.Stringer
	}
	name string
}

func (m *marshalled) Set(s string) error { return m.value.UnmarshalText([]byte(s)) }
func (m *marshalled) String() string     { return strings.ToLower(m.value.String()) }
func (m *marshalled) Type() string       { return m.name }
