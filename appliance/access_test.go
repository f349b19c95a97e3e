package appliance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"sluice/appliance/api"
	"sluice/target/login"
	"sluice/target/pdu"
)

const (
	secret1 = "secret-number-1"
	secret2 = "secret-number-2"
)

func chapRequest() api.CHAPRequest {
	return api.CHAPRequest{User: "joe", Secret: secret1, MutualUser: "gw", MutualSecret: secret2}
}

// TestAdmission tries who gets in, under all kinds of rules.
func TestAdmission(t *testing.T) {
	chap := map[string]credentials{alice: credentials(chapRequest())}
	tests := []struct {
		name      string
		rules     *ruling
		initiator string
		local     bool
		want      string // "in", "chap" or "out"
	}{
		{"no rules, from here", nil, alice, true, "in"},
		{"no rules, from elsewhere", nil, alice, false, "out"},
		{"empty rules, from elsewhere", &ruling{}, alice, false, "out"},
		{"on the list", &ruling{Initiators: []string{alice}}, alice, false, "in"},
		{"not on the list", &ruling{Initiators: []string{alice}}, bob, false, "out"},
		{"not on the list, from here", &ruling{Initiators: []string{alice}}, bob, true, "out"},
		{"with CHAP", &ruling{CHAP: chap}, alice, false, "chap"},
		{"with CHAP, from here", &ruling{CHAP: chap}, alice, true, "chap"},
		{"others have CHAP", &ruling{CHAP: chap}, bob, false, "out"},
		{"others have CHAP, from here", &ruling{CHAP: chap}, bob, true, "out"},
		{"list and CHAP", &ruling{Initiators: []string{alice}, CHAP: chap}, alice, false, "chap"},
		{"CHAP but not on the list", &ruling{Initiators: []string{bob}, CHAP: chap}, alice, false, "out"},
		{"on the list but others have CHAP", &ruling{Initiators: []string{bob}, CHAP: chap}, bob, false, "out"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := test.rules.admit(test.initiator, test.local)
			switch test.want {
			case "in":
				if got != nil || err != nil {
					t.Errorf("%v %v", got, err)
				}
			case "chap":
				if err != nil || got == nil || got.User != "joe" || !got.Secret.Equal(login.NewSecret(secret1)) ||
					got.MutualUser != "gw" || !got.MutualSecret.Equal(login.NewSecret(secret2)) {
					t.Errorf("%v %v", got, err)
				}
			default:
				if e, ok := errors.AsType[*login.Error](err); !ok || e.Status != pdu.LoginForbidden {
					t.Errorf("%v %v", got, err)
				}
			}
		})
	}
}

func TestAuthorize(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	here, elsewhere := address(t, "127.0.0.1:1000"), address(t, "192.0.2.1:1000")
	f.create(t, "demo")
	status := func(initiator, name string, remoteIsHere bool) pdu.LoginStatus {
		remote := elsewhere
		if remoteIsHere {
			remote = here
		}
		_, err := f.Authorize(initiator, name, remote)
		if e, ok := errors.AsType[*login.Error](err); ok {
			return e.Status
		}
		if err != nil {
			t.Error(err)
		}
		return 0
	}
	if got := status(alice, api.IQN("none"), true); got != pdu.LoginNotFound {
		t.Errorf("no such volume: %v", got)
	}
	if got := status(alice, "iqn.2026-11.other:demo", true); got != pdu.LoginNotFound {
		t.Errorf("another's target: %v", got)
	}
	if status(alice, api.IQN("demo"), true) != 0 || status(alice, "", true) != 0 {
		t.Error("the loopback is shut out")
	}
	if status(alice, api.IQN("demo"), false) != pdu.LoginForbidden || status(alice, "", false) != pdu.LoginForbidden {
		t.Error("a stranger gets in without any rules")
	}
	if _, err := f.SetCHAP(ctx, "demo", alice, chapRequest()); err != nil {
		t.Fatal(err)
	}
	access, err := f.Authorize(alice, api.IQN("demo"), elsewhere)
	if err != nil || access.CHAP == nil || access.CHAP.User != "joe" {
		t.Errorf("%v %v", access, err)
	}
	if status(alice, "", false) != 0 || status(bob, "", false) != pdu.LoginForbidden {
		t.Error("discovery is not for those who may log in")
	}
	if _, err := f.Authorize(alice, api.IQN("demo"), address(t, "[::ffff:127.0.0.1]:1")); err != nil {
		t.Errorf("the loopback in IPv6 clothes: %v", err)
	}
}

// TestRuleChangesCloseSessions: whoever proved an old secret, or is not allowed any more, goes.
func TestRuleChangesCloseSessions(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	f.create(t, "demo")
	check := func(what string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(append([]string{}, want...), f.targets.loggedIn("demo")); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	f.targets.login("demo", alice, "127.0.0.1:1")
	f.targets.login("demo", bob, "127.0.0.1:2")
	must(f.AllowInitiator(ctx, "demo", alice))
	check("only alice is on the list", alice)
	must(f.AllowInitiator(ctx, "demo", bob))
	f.targets.login("demo", bob, "192.0.2.1:2")
	check("bob came back", alice, bob)
	must(f.DenyInitiator(ctx, "demo", bob))
	check("bob is denied", alice)
	must(f.SetCHAP(ctx, "demo", alice, chapRequest()))
	check("alice has a secret that she has not proved")
	f.targets.login("demo", alice, "192.0.2.1:1")
	must(f.SetCHAP(ctx, "demo", bob, chapRequest()))
	check("bob's secret is not alice's matter", alice)
	must(f.DeleteCHAP(ctx, "demo", alice))
	check("alice has no secret any more")

	_, err := f.DenyInitiator(ctx, "demo", bob)
	wantCode(t, err, api.CodeNotFound)
	_, err = f.DeleteCHAP(ctx, "demo", alice)
	wantCode(t, err, api.CodeNotFound)
	_, err = f.AllowInitiator(ctx, "none", alice)
	wantCode(t, err, api.CodeNotFound)
	_, err = f.AllowInitiator(ctx, "demo", "not a name")
	wantCode(t, err, api.CodeInvalid)
	_, err = f.SetCHAP(ctx, "demo", alice, api.CHAPRequest{User: "joe", Secret: "short"})
	wantCode(t, err, api.CodeInvalid, "12")
	list, err := f.ListInitiators(ctx, "demo")
	if err != nil || len(list.Initiators) != 1 {
		t.Errorf("%v %v", list, err)
	}
}

// TestNamesAreCompared in lower case, as RFC 7143 4.2.7.2 has it.
func TestNamesAreCompared(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	f.create(t, "demo")
	list, err := f.AllowInitiator(ctx, "demo", strings.ToUpper(alice))
	if err != nil || len(list.Initiators) != 1 || list.Initiators[0] != alice {
		t.Errorf("%v %v", list, err)
	}
	if list, err = f.AllowInitiator(ctx, "demo", alice); err != nil || len(list.Initiators) != 1 {
		t.Errorf("%v %v", list, err)
	}
}

func TestAccessFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.json")
	a, err := openAccess(path)
	if err != nil {
		t.Fatal(err)
	}
	one, two := uuid.New(), uuid.New()
	set := func(id uuid.UUID, change func(*ruling)) {
		t.Helper()
		if err := a.update(id, func(r *ruling) error { change(r); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	set(one, func(r *ruling) { r.allow(bob); r.allow(alice) })
	set(two, func(r *ruling) { r.CHAP[alice] = credentials(chapRequest()) })
	if err := a.update(one, func(r *ruling) error { r.deny(bob); return errors.New("no") }); err == nil {
		t.Error("an error was lost")
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	again, err := openAccess(path)
	if err != nil {
		t.Fatal(err)
	}
	want := map[uuid.UUID]*ruling{
		one: {Initiators: []string{alice, bob}},
		two: {CHAP: map[string]credentials{alice: credentials(chapRequest())}},
	}
	if diff := cmp.Diff(want, again.volumes); diff != "" {
		t.Error(diff)
	}
	if err := again.forget(two); err != nil || again.of(two) != nil {
		t.Errorf("not forgotten: %v", err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := openAccess(path); err == nil || !strings.Contains(err.Error(), "chmod 600 "+path) {
		t.Errorf("a file that others can read: %v", err)
	}
}

func TestAccessFileRefused(t *testing.T) {
	id := uuid.NewString()
	for name, test := range map[string]struct{ body, word string }{
		"empty":     {"", "put the file back"},
		"cut short": {`{"format":1,"volumes":{"` + id + `":{"chap":{"x":{"secret":"` + secret1, "put the file back"},
		"newer":     {`{"format":2,"volumes":{},"more":true}`, "newer sluice"},
		"no format": {`{}`, "put the file back"},
		"no rules":  {`{"format":1,"volumes":{"` + id + `":null}}`, id},
		"bad type":  {`{"format":1,"volumes":{"` + id + `":{"chap":"` + secret1 + `"}}}`, "put the file back"},
		"extra key": {`{"format":1,"` + secret1 + `":1}`, "put the file back"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "access.json")
			if err := os.WriteFile(path, []byte(test.body), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := openAccess(path)
			if err == nil || !strings.Contains(err.Error(), test.word) || strings.Contains(err.Error(), secret1) {
				t.Error(err)
			}
		})
	}
}

// TestSecretsStayInside looks for secrets in everything that comes out.
func TestSecretsStayInside(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	var out bytes.Buffer
	f.log = slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	f.create(t, "demo")
	set, err := f.SetCHAP(ctx, "demo", alice, chapRequest())
	if err != nil {
		t.Fatal(err)
	}
	list, err := f.ListCHAP(ctx, "demo")
	if err != nil {
		t.Fatal(err)
	}
	shown, err := f.ShowVolume(ctx, "demo")
	if err != nil {
		t.Fatal(err)
	}
	access, err := f.Authorize(alice, api.IQN("demo"), address(t, "127.0.0.1:1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range []any{set, list, shown, access, access.CHAP, f.access.of(f.entry("demo").head.ID), credentials(chapRequest())} {
		fmt.Fprintf(&out, "%v %+v %#v\n", value, value, value)
		slog.New(slog.NewTextHandler(&out, nil)).Info("value", "value", value)
	}
	for _, value := range []any{set, list, shown} {
		body, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(body)
	}
	if !strings.Contains(out.String(), `"user":"joe"`) {
		t.Error("the test shows nothing at all")
	}
	for _, secret := range []string{secret1, secret2} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("%s is shown:\n%s", secret, &out)
		}
	}
}

func FuzzDecodeAccess(f *testing.F) {
	f.Add([]byte(`{"format":1,"volumes":{"5f0c1c52-3c2e-4b0e-9d5e-111111111111":{"initiators":["iqn.a"],"chap":{"iqn.a":{"user":"u","secret":"s"}}}}}`))
	f.Add([]byte(`{"format":1}`))
	f.Add([]byte(`{"format":1,"volumes":{"x":{}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		file, err := decodeAccess(body)
		if err != nil {
			return
		}
		for _, rules := range file.Volumes {
			if _, err := rules.admit(alice, false); rules.open() && err == nil {
				t.Fatal("a stranger gets in without any rules")
			}
			rules.show()
			rules.clone().allow(alice)
		}
	})
}
