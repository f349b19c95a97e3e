package appliance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"sluice/volume"
)

// standing is a standby for a group with one volume, "theirs", of another gateway.
type standing struct {
	*fixture
	standby *standby
	away    bool // this gateway cannot reach the bucket
	renewed int
}

func newStanding(t *testing.T) *standing {
	t.Helper()
	s := &standing{fixture: newFixture(t)}
	id := uuid.New()
	s.fakes.heads["theirs"] = &volume.Head{
		ID: id, Name: "theirs", Size: 1 << 30, Mode: volume.Cached,
		Owner: &volume.Owner{Gateway: otherGateway, Host: "other", Group: "g", Lease: 15, Queued: 4096},
	}
	s.standby = newStandby(s.volumes, "g", func(_ context.Context, id uuid.UUID) (*volume.Head, error) {
		s.fakes.mu.Lock()
		defer s.fakes.mu.Unlock()
		if s.away {
			return nil, errors.New("away")
		}
		for _, h := range s.fakes.heads {
			if h.ID == id {
				return new(*h), nil
			}
		}
		return nil, volume.ErrNotFound
	}, slog.New(slog.DiscardHandler))
	return s
}

// renew is a sign of life of the other gateway.
func (s *standing) renew() {
	s.fakes.mu.Lock()
	defer s.fakes.mu.Unlock()
	s.renewed++
	s.fakes.heads["theirs"].Nonce = fmt.Sprint(s.renewed)
}

// lose takes the bucket away from this gateway, or gives it back.
func (s *standing) lose(away bool) {
	s.fakes.mu.Lock()
	defer s.fakes.mu.Unlock()
	s.away = away
}

func (s *standing) taken() bool { return s.entry("theirs") != nil }

// TestStandby stands by for a gateway that lives, cannot be seen, and dies.
func TestStandby(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStanding(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); s.standby.run(ctx) }()
		defer func() { cancel(); <-done }()
		wait := func(d time.Duration) { time.Sleep(d); synctest.Wait() }

		for range 1000 {
			wait(10 * time.Second) // just in time, each time
			s.renew()
		}
		if s.taken() {
			t.Fatal("a volume was taken from a gateway that lives")
		}
		if _, ok := s.targets.exported["theirs"].(standbyDisk); !ok {
			t.Error("initiators see no path through the standby")
		}
		if _, err := s.Authorize(alice, "iqn.2026-11.io.sluice:theirs", address(t, "127.0.0.1:1")); err != nil {
			t.Errorf("nobody may log in to the path: %v", err)
		}
		if _, err := s.Authorize(alice, "iqn.2026-11.io.sluice:theirs", address(t, "10.0.0.1:1")); err == nil {
			t.Error("strangers may log in to the path")
		}
		shown := s.standby.status()
		if len(shown.Volumes) != 1 || shown.Volumes[0].Queued != 4096 || shown.Volumes[0].Patience != 18 {
			t.Errorf("shown as %+v", shown)
		}

		s.targets.stale = map[uuid.UUID]bool{s.fakes.heads["theirs"].ID: true}

		// The bucket cannot be reached for long, from here or by anybody: that says nothing about the other gateway.
		wait(2 * time.Second) // and seen
		s.lose(true)
		wait(time.Hour)
		s.lose(false)
		wait(17 * time.Second)
		if s.taken() {
			t.Fatal("a time in which nobody looked was taken for silence")
		}
		s.renew()
		wait(17 * time.Second)
		if s.taken() {
			t.Fatal("it was taken over before its time")
		}
		wait(3 * time.Second)
		if !s.taken() || s.fakes.heads["theirs"].Owner.Gateway != thisGateway {
			t.Fatal("nobody takes over from the dead")
		}
		if _, ok := s.targets.exported["theirs"].(standbyDisk); ok {
			t.Error("the path is still in reserve")
		}
	})
}

// TestStandbyAfterAStop is told that the other gateway has stopped, and waits no longer.
func TestStandbyAfterAStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStanding(t)
		ctx := t.Context()
		if err := s.standby.list(ctx); err != nil {
			t.Fatal(err)
		}
		s.standby.look(ctx)
		if s.taken() {
			t.Fatal("a volume was taken from a gateway that lives")
		}
		s.renew()
		s.fakes.heads["theirs"].Owner.Stopped = true
		s.standby.look(ctx)
		if !s.taken() {
			t.Fatal("it waits for nothing")
		}
	})
}

// TestStandbyIsTooLate has the owner give a sign of life just when it is about to be superseded.
func TestStandbyIsTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStanding(t)
		ctx := t.Context()
		if err := s.standby.list(ctx); err != nil {
			t.Fatal(err)
		}
		seen := new(*s.fakes.heads["theirs"])
		s.renew()
		s.standby.takeOver(ctx, seen)
		if s.taken() {
			t.Fatal("a volume was taken from a gateway that lives")
		}
	})
}

// TestStandbyTriesAgain cannot attach what it has taken, at first.
func TestStandbyTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStanding(t)
		s.fakes.openErr = errors.New("a segment cannot be read just now")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); s.standby.run(ctx) }()
		defer func() { cancel(); <-done }()
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if e := s.entry("theirs"); e == nil || e.vol == nil {
			t.Fatalf("the volume is not served: %+v", e)
		}
	})
}

// TestStandbyLeavesOthersAlone looks at volumes that are not to be taken over.
func TestStandbyLeavesOthersAlone(t *testing.T) {
	for name, change := range map[string]func(*volume.Head){
		"of another group":      func(h *volume.Head) { h.Owner.Group = "other" },
		"not leased":            func(h *volume.Head) { h.Owner.Lease = 0 },
		"detached":              func(h *volume.Head) { h.Owner = nil },
		"its data is elsewhere": func(h *volume.Head) { h.Mode = volume.Stored },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStanding(t)
				change(s.fakes.heads["theirs"])
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() { defer close(done); s.standby.run(ctx) }()
				time.Sleep(time.Minute)
				cancel()
				<-done
				if s.taken() || len(s.targets.exported) > 0 {
					t.Error("it was taken over, or offered")
				}
			})
		})
	}
}
