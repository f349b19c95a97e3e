package hostile

import (
	"encoding/hex"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/target/pdu"
	"sluice/test/harness"
)

// TestSecretsStaySecret plays whole dialogues with CHAP, right and wrong, one-way and mutual,
// with a daemon that logs all it can, and searches what it wrote for the secrets: the log,
// the answers of its command line, and every file that others may read.
func TestSecretsStaySecret(t *testing.T) {
	s := newScene(t, "--log-level", "debug")
	dialogues := chaps()
	for i := range dialogues {
		t.Run(dialogues[i].name, func(t *testing.T) { s.run(t, &dialogues[i]) })
	}
	secrets := []string{chapSecret, mutualSecret, "not the secret at all"}
	shown := s.gw.LogTail(1 << 20)
	if !strings.Contains(shown, "wrong CHAP name or secret") || !strings.Contains(shown, guardedIQN) {
		t.Error("the log does not tell of the dialogues")
	}
	for _, verb := range [][]string{{"chap", "list", "guarded"}, {"chap", "list", "guarded", "--json"}, {"volume", "show", "guarded", "--json"}, {"status", "--json"}} {
		shown += string(s.gw.CLI(verb...))
	}
	for _, secret := range secrets {
		for _, form := range []string{secret, hex.EncodeToString([]byte(secret))} {
			if strings.Contains(shown, form) {
				t.Errorf("%q is shown", form)
			}
		}
	}
	s.private(t, secrets)
	s.refusesOpenFiles(t)
}

// private checks that files with secrets, in the data directory and in the store, are for
// their owner only.
func (s *scene) private(t *testing.T, secrets []string) {
	t.Helper()
	kept := false
	for _, dir := range []string{s.gw.DataDir, strings.TrimPrefix(s.gw.Store, "file://")} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			info, err := d.Info()
			if err != nil || info.Size() > 1<<20 {
				return nil //nolint:nilerr // it is gone, or is data
			}
			body, err := os.ReadFile(path)
			if err != nil {
				return nil //nolint:nilerr // gone meanwhile
			}
			for _, secret := range secrets {
				if !strings.Contains(string(body), secret) {
					continue
				}
				kept = true
				if mode := info.Mode().Perm(); mode != 0o600 {
					t.Errorf("%s holds a secret and has mode %04o", path, mode)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if !kept {
		t.Error("no file holds the secrets, so that nothing was checked")
	}
}

// refusesOpenFiles checks that neither a secret in a file for all nor access rules that
// others can read are taken.
func (s *scene) refusesOpenFiles(t *testing.T) {
	t.Helper()
	open := filepath.Join(harness.TempDir(t), "secret")
	if err := os.WriteFile(open, []byte(chapSecret), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := s.gw.Try("chap", "set", "guarded", "--initiator", guardedIQN, "--user", chapUser, "--secret-file", open); err == nil {
		t.Errorf("a secret that all may read is taken: %s", out)
	}
	s.gw.Stop()
	rules, err := filepath.Glob(filepath.Join(s.gw.DataDir, "access.json"))
	if err != nil || len(rules) != 1 {
		t.Fatalf("access rules: %v, %v", rules, err)
	}
	if err := os.Chmod(rules[0], 0o640); err != nil {
		t.Fatal(err)
	}
	if out, err := s.gw.Command().CombinedOutput(); err == nil {
		t.Error("the daemon starts with access rules that others can read")
	} else if !strings.Contains(string(out), "chmod 600") || strings.Contains(string(out), chapSecret) {
		t.Errorf("the daemon says:\n%s", out)
	}
}

// TestFloodOfLoginsIsNotLogged: two thousand refused logins make a hundred lines or so.
func TestFloodOfLoginsIsNotLogged(t *testing.T) {
	s := newScene(t)
	before := strings.Count(s.gw.LogTail(1<<20), "\n")
	p := s.peer(t, net.IPv4(127, 5, 0, 1))
	p.target += "x"
	for range 2000 {
		p.connect()
		logs()(p)
		refused(pdu.LoginNotFound)(p)
	}
	if lines := strings.Count(s.gw.LogTail(1<<20), "\n") - before; lines == 0 || lines > 200 {
		t.Errorf("2000 refused logins made %d lines", lines)
	}
	s.check(t, extent{})
}
