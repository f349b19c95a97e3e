package volume_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/object"
	"sluice/object/memory"
	"sluice/volume"
)

// mute is a store that does not say what became of a head without an owner.
type mute struct {
	object.Store
	done bool         // it is written
	ever bool         // nothing is answered any more
	late func() error // else it is written by this, later
}

func (s *mute) PutIf(ctx context.Context, key string, body []byte, match string) (string, error) {
	given := strings.HasSuffix(key, "head.json") && !bytes.Contains(body, []byte(`"owner"`))
	if !given && !s.ever {
		return s.Store.PutIf(ctx, key, body, match)
	}
	if given {
		s.late = func() error {
			_, err := s.Store.PutIf(context.Background(), key, body, match)
			return err
		}
	}
	if given && s.done {
		if err := s.late(); err != nil {
			return "", err
		}
	}
	<-ctx.Done()
	return "", ctx.Err()
}

func (s *mute) GetRange(ctx context.Context, key string, off, n int64) ([]byte, string, error) {
	if s.ever && s.late != nil {
		<-ctx.Done()
		return nil, "", ctx.Err()
	}
	return s.Store.GetRange(ctx, key, off, n)
}

// TestDetachWithoutAnAnswer gives a volume up, the user loses patience, and the head in the bucket has no owner: then another gateway may
// have the volume at once, without force, and this one may not answer for it any more.
func TestDetachWithoutAnAnswer(t *testing.T) {
	store := &mute{Store: newStore(t), done: true}
	head := create(t, store.Store, 16*mib)
	g := newGateway(t, store, gatewayOptions{name: "a"})
	v := g.attach(head, false)
	write(t, v, 0, bytes.Repeat([]byte{1}, 8192))
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	err := v.Detach(ctx)
	if h, rerr := volume.HeadOf(t.Context(), store, head.ID); rerr != nil || h.Owner != nil {
		t.Fatalf("the head was not written: %v %v", h, rerr)
	}
	if err != nil {
		t.Errorf("the volume is given up, and Detach says %v", err)
	}
	if err := v.Write(t.Context(), [][]byte{make([]byte, 4096)}, []int64{0}, true); err == nil {
		t.Fatal("a write is acknowledged for a volume that is anybody's")
	}
	g.abandon()
}

// TestGiveUp shows what a gateway makes of a head without an owner whose answer it does not get.
func TestGiveUp(t *testing.T) {
	for _, c := range []struct {
		name string
		done bool // it is written at once
		ever bool // and there are no answers at all any more
		want error
		lost bool
	}{
		{"written", true, false, nil, false},
		{"on its way", false, false, context.DeadlineExceeded, false},
		{"silence", false, true, volume.ErrUnsettled, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &mute{Store: memory.New(), done: c.done}
				h := create(t, store.Store, 16*mib)
				var lost error
				claim, err := volume.NewClaim(t.Context(), volume.ClaimOptions{
					Store: store, Volume: h.ID, Gateway: "a", Notes: &memNotes{}, Lost: func(err error) { lost = err },
				})
				if err != nil {
					t.Fatal(err)
				}
				if err := claim.Take(t.Context()); err != nil {
					t.Fatal(err)
				}
				store.ever = c.ever
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if err := claim.GiveUp(ctx, func(*volume.Head) {}); !errors.Is(err, c.want) {
					t.Fatalf("giving up: %v, want %v", err, c.want)
				}
				if (lost != nil) != c.lost {
					t.Errorf("I/O is stopped by %v", lost)
				}
				if c.done || c.ever {
					return
				}
				// What was on its way comes too late now.
				if err := store.late(); !errors.Is(err, object.ErrPrecondition) {
					t.Errorf("the late head: %v", err)
				}
				if err := claim.Update(t.Context(), func(*volume.Head) {}); err != nil {
					t.Errorf("going on: %v", err)
				}
			})
		})
	}
}

// TestConfirm asks whose a volume is after the root of a snapshot was published: before and after a takeover.
func TestConfirm(t *testing.T) {
	ctx := t.Context()
	store := newStore(t)
	head := create(t, store, 16*mib)
	a := newGateway(t, store, gatewayOptions{name: "a"})
	v := a.attach(head, false)
	write(t, v, 0, bytes.Repeat([]byte{1}, 8192))
	hold, err := v.Hold(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cut := hold.Cut()
	hold.Release()
	defer cut.Close()
	if _, err := cut.Finish(ctx); err != nil {
		t.Fatal(err)
	}
	if err := cut.Confirm(ctx); err != nil {
		t.Errorf("before: %v", err)
	}
	b := newGateway(t, store, gatewayOptions{name: "b"})
	b.attach(head, true)
	if err := cut.Confirm(ctx); !errors.Is(err, volume.ErrLost) {
		t.Errorf("after the takeover: %v", err)
	}
	b.stop()
	a.stop()
}
