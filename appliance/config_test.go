package appliance

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"sluice/appliance/api"
)

func noEnv(string) string { return "" }

func writeFile(t *testing.T, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sluice.yaml")
	if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadPrecedence(t *testing.T) {
	file := writeFile(t, "cache: 1GiB\nupload-buffer: 2GiB\ndata-dir: /file\nlog-level: warn\ndrain-timeout: 5s\n")
	env := map[string]string{"SLUICE_UPLOAD_BUFFER": "3GiB", "SLUICE_DATA_DIR": "/env"}
	got, err := Load(file, func(k string) string { return env[k] }, map[string]string{"data-dir": "/flag"})
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultConfig()
	want.Cache, want.LogLevel, want.DrainTimeout = 1*api.GiB, slog.LevelWarn, 5*time.Second // file over default
	want.UploadBuffer = 3 * api.GiB                                                         // environment over file
	want.DataDir = "/flag"                                                                  // flag over all
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestEverySettingEverywhere holds the three ways of giving a setting to one another.
func TestEverySettingEverywhere(t *testing.T) {
	values := map[string]string{
		"data-dir": "/somewhere", "store": "file:///objects", "iscsi-listen": "127.0.0.1:1", "api-listen": "127.0.0.1:2",
		"token-file": "/token", "upload-buffer": "3GiB", "cache": "5GiB", "drain-timeout": "7s", "initiator-timeout": "9s", "log-level": "debug",
		"peer": "gw2:3262", "peer-listen": "127.0.0.1:3", "peer-cert": "/cert", "peer-key": "/key", "peer-ca": "/ca", "mirror-size": "2GiB",
		"group": "g", "standby-for": "h", "lease": "4s",
	}
	var lines strings.Builder
	env := map[string]string{}
	defaults := DefaultConfig()
	for _, s := range defaults.Settings() {
		value, ok := values[s.Name]
		if !ok {
			t.Fatalf("add setting %s to this test", s.Name)
		}
		if s.Value.String() == value {
			t.Errorf("the value of %s here is its default and proves nothing", s.Name)
		}
		lines.WriteString(s.Name + ": " + value + "\n")
		env[s.Env()] = value
	}
	fromFile, err := Load(writeFile(t, lines.String()), noEnv, nil)
	if err != nil {
		t.Fatal(err)
	}
	fromEnv, err := Load("", func(k string) string { return env[k] }, nil)
	if err != nil {
		t.Fatal(err)
	}
	fromFlags, err := Load("", noEnv, values)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fromFile, fromEnv) + cmp.Diff(fromFile, fromFlags); diff != "" {
		t.Error(diff)
	}
	for _, s := range fromFile.Settings() {
		if s.Value.String() != values[s.Name] {
			t.Errorf("%s is %s, not %s", s.Name, s.Value, values[s.Name])
		}
	}
	if _, err := yaml.Marshal(fromFile); err != nil {
		t.Error(err)
	}
}

func TestLoadRefuses(t *testing.T) {
	tests := map[string]struct {
		file  string
		env   map[string]string
		flags map[string]string
		want  []string
	}{
		"unknown key":       {file: "cache: 1GiB\ncahce: 2GiB\n", want: []string{"[2:1]", "cahce"}},
		"twice":             {file: "cache: 1GiB\ncache: 2GiB\n", want: []string{"[2:1]"}},
		"not a mapping":     {file: "- cache\n", want: []string{"[1:1]"}},
		"size without unit": {file: "cache: 10\n", want: []string{"10GiB"}},
		"decimal unit":      {env: map[string]string{"SLUICE_CACHE": "10GB"}, want: []string{"SLUICE_CACHE", "10GiB"}},
		"bad flag":          {flags: map[string]string{"drain-timeout": "soon"}, want: []string{"--drain-timeout", "20s"}},
		"bad level":         {flags: map[string]string{"log-level": "loud"}, want: []string{"--log-level"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			path := ""
			if test.file != "" {
				path = writeFile(t, test.file)
			}
			_, err := Load(path, func(k string) string { return test.env[k] }, test.flags)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the message does not hold %q: %v", want, err)
				}
			}
		})
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none"), noEnv, nil); err == nil {
		t.Error("a file that is not there was accepted")
	}
	if _, err := Load(writeFile(t, "# only a comment\n"), noEnv, nil); err != nil {
		t.Errorf("a file of comments: %v", err)
	}
}

func TestValidate(t *testing.T) {
	good := DefaultConfig()
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	if good.Store != "file:///var/lib/sluice/store" {
		t.Errorf("the default store is %s", good.Store)
	}
	tests := map[string]struct {
		change func(*Config)
		want   string // "" if it is fine
	}{
		"no data directory":     {func(c *Config) { c.DataDir = "" }, "data-dir"},
		"store of another kind": {func(c *Config) { c.Store = "ftp://x" }, "store URL"},
		"portal without port":   {func(c *Config) { c.ISCSIListen = "127.0.0.1" }, "127.0.0.1:3260"},
		"portal on a name":      {func(c *Config) { c.ISCSIListen = "gateway.example:3260" }, "not an IP address"},
		"portal everywhere":     {func(c *Config) { c.ISCSIListen = ":3260" }, ""},
		"API on IPv6 loopback":  {func(c *Config) { c.APIListen = "[::1]:80" }, ""},
		"API open to all":       {func(c *Config) { c.APIListen = "0.0.0.0:80" }, "token-file"},
		"API open on every one": {func(c *Config) { c.APIListen = ":80" }, "token-file"},
		"API open with a token": {func(c *Config) { c.APIListen, c.TokenFile = "0.0.0.0:80", "/token" }, ""},
		"tiny buffer":           {func(c *Config) { c.UploadBuffer = api.MiB }, "at least 64MiB"},
		"tiny cache":            {func(c *Config) { c.Cache = 0 }, "at least 64MiB"},
		"negative time":         {func(c *Config) { c.DrainTimeout = -1 }, "drain-timeout"},
		"hasty":                 {func(c *Config) { c.InitiatorTimeout = time.Second }, "initiator-timeout"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := DefaultConfig()
			test.change(&c)
			err := c.Validate()
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("want %q, got %v", test.want, err)
			}
		})
	}
}
