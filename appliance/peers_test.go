package appliance

import (
	"log/slog"
	"testing"

	"github.com/google/uuid"

	"sluice/target"
	"sluice/target/sbc"
	"sluice/volume"
)

// TestTrust: a copy reaches another volume only for an initiator that has shown at its own what the
// other asks for.
func TestTrust(t *testing.T) {
	const host = "iqn.2026-01.test:host"
	secret := credentials{User: "user", Secret: "secret-of-twelve"}
	other := credentials{User: "user", Secret: "another-secret"}
	chap := func(c credentials) *ruling { return &ruling{CHAP: map[string]credentials{host: c}} }
	listed, stranger := &ruling{Initiators: []string{host}}, &ruling{Initiators: []string{"iqn.2026-01.test:other"}}
	tests := []struct {
		name     string
		from, to *ruling
		want     bool
	}{
		{"both open", nil, nil, true},
		{"an open one asks for who is on this machine", listed, nil, false},
		{"also of who has a secret", chap(secret), nil, false},
		{"on the list", nil, listed, true},
		{"on both lists", listed, listed, true},
		{"not on the list", nil, stranger, false},
		{"the same secret", chap(secret), chap(secret), true},
		{"another secret", chap(secret), chap(other), false},
		{"no secret at an open one", nil, chap(secret), false},
		{"no secret at a listed one", listed, chap(secret), false},
		{"a secret where a name would do", chap(secret), listed, true},
		{"somebody else's secret", chap(secret), &ruling{CHAP: map[string]credentials{"iqn.2026-01.test:other": secret}}, false},
	}
	for _, tt := range tests {
		if got := tt.to.trusts(tt.from, host); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

// TestPeers: the disks of a gateway find each other by designator until they are withdrawn.
func TestPeers(t *testing.T) {
	rules, err := openAccess(t.TempDir() + "/access.json")
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	exports := newTargets(target.New(target.Options{Logger: log}), t.TempDir(), rules, log)
	ids := map[string]uuid.UUID{"one": uuid.New(), "two": uuid.New()}
	for name, id := range ids {
		if err := exports.Export(&volume.Head{Name: name, ID: id}, emptyDisk{}); err != nil {
			t.Fatal(err)
		}
	}
	one, two := exports.disks["one"].device, exports.disks["two"].device
	if got := exports.Peer(one, "iqn.2026-01.test:host", two.Designator()); got != two {
		t.Errorf("found %p, not %p", got, two)
	}
	if got := exports.Peer(one, "iqn.2026-01.test:host", [16]byte{0x60}); got != nil {
		t.Error("found a disk that there is not")
	}
	if err := rules.update(ids["two"], func(r *ruling) error { r.allow("iqn.2026-01.test:other"); return nil }); err != nil {
		t.Fatal(err)
	}
	if got := exports.Peer(one, "iqn.2026-01.test:host", two.Designator()); got != nil {
		t.Error("found a disk that is somebody else's")
	}
	if err := exports.Withdraw(t.Context(), "two"); err != nil {
		t.Fatal(err)
	}
	if got := exports.Peer(one, "iqn.2026-01.test:other", two.Designator()); got != nil {
		t.Error("found a disk that is withdrawn")
	}
}

// emptyDisk is a disk that nobody reads.
type emptyDisk struct{ sbc.Disk }

func (emptyDisk) Size() int64 { return 1 << 20 }
