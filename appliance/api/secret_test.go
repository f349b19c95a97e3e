package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	testSecret = "one-way-secret-0"
	testMutual = "mutual-secret-00"
)

func TestSecretIsNotShown(t *testing.T) {
	req := CHAPRequest{User: "joe", Secret: testSecret, MutualUser: "gw", MutualSecret: testMutual}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		fmt.Fprintf(&out, verb+"\n", req)
		fmt.Fprintf(&out, verb+"\n", &req)
		fmt.Fprintf(&out, verb+"\n", req.Secret)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("text", "request", req, "secret", req.Secret)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("json", "secret", req.Secret)
	for _, secret := range []string{testSecret, testMutual, fmt.Sprintf("%x", testSecret)} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("a secret is shown:\n%s", &out)
		}
	}
	// But the daemon must get it.
	var back CHAPRequest
	if body, err := json.Marshal(req); err != nil || json.Unmarshal(body, &back) != nil || back != req {
		t.Errorf("the request does not arrive as it was sent: %v", err)
	}
}

func TestReadSecretFile(t *testing.T) {
	dir := t.TempDir()
	tests := map[string]struct {
		body string
		mode os.FileMode
		want Secret
		fail string // what the message holds
	}{
		"plain":             {"0123456789ab", 0o600, "0123456789ab", ""},
		"line feed":         {"0123456789ab\n", 0o400, "0123456789ab", ""},
		"Windows line":      {"0123456789ab\r\n", 0o600, "0123456789ab", ""},
		"only one goes":     {"0123456789ab\n\n", 0o600, "0123456789ab\n", ""},
		"readable by group": {testSecret, 0o640, "", "chmod 600"},
		"readable by all":   {testSecret, 0o604, "", "chmod 600"},
		"empty":             {"\n", 0o600, "", "empty"},
		"huge":              {strings.Repeat(testSecret, 1000), 0o600, "", "longer"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
			if err := os.WriteFile(path, []byte(test.body), test.mode); err != nil {
				t.Fatal(err)
			}
			got, err := ReadSecretFile(path)
			if got != test.want || (err == nil) != (test.fail == "") {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
			if err != nil && (!strings.Contains(err.Error(), test.fail) || strings.Contains(err.Error(), testSecret)) {
				t.Error(err)
			}
		})
	}
	for _, path := range []string{dir, filepath.Join(dir, "none")} {
		if _, err := ReadSecretFile(path); err == nil {
			t.Errorf("%s was read", path)
		}
	}
}

func TestCHAPRequestCheck(t *testing.T) {
	tests := map[string]struct {
		change func(*CHAPRequest)
		want   string // "" if it is fine
	}{
		"mutual":           {func(*CHAPRequest) {}, ""},
		"one way":          {func(r *CHAPRequest) { r.MutualUser, r.MutualSecret = "", "" }, ""},
		"no user":          {func(r *CHAPRequest) { r.User = "" }, "user"},
		"short":            {func(r *CHAPRequest) { r.Secret = "0123456789a" }, "11 bytes"},
		"shortest":         {func(r *CHAPRequest) { r.Secret = "0123456789ab" }, ""},
		"long":             {func(r *CHAPRequest) { r.Secret = Secret(strings.Repeat("a", 256)) }, "256 bytes"},
		"mutual short":     {func(r *CHAPRequest) { r.MutualSecret = "short" }, "mutual"},
		"mutual no user":   {func(r *CHAPRequest) { r.MutualUser = "" }, "both"},
		"mutual no secret": {func(r *CHAPRequest) { r.MutualSecret = "" }, "both"},
		"same":             {func(r *CHAPRequest) { r.MutualSecret = r.Secret }, "differ"},
		"control":          {func(r *CHAPRequest) { r.User = "a\nb" }, "control"},
		"NUL":              {func(r *CHAPRequest) { r.Secret = "0123456789ab\x00" }, "NUL"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := CHAPRequest{User: "joe", Secret: testSecret, MutualUser: "gw", MutualSecret: testMutual}
			test.change(&r)
			err := r.Check()
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("want %q, got %v", test.want, err)
			}
			if err != nil && strings.Contains(err.Error(), string(r.Secret)) {
				t.Errorf("the message holds the secret: %v", err)
			}
		})
	}
}
