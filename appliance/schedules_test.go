package appliance

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"sluice/object"
	"sluice/object/memory"
	"sluice/snapshot"
	"sluice/volume/blockmap"
)

// clockwork is a scheduler whose snapshots are only records, in a bubble of synctest, where it is midnight of 1 January 2000.
type clockwork struct {
	t       *testing.T
	bucket  object.Store
	records *snapshot.Catalogue
	volume  uuid.UUID

	mu     sync.Mutex
	served bool
	made   []string // times, of snapshots that were tried
	fail   error    // of the next snapshots
	lost   bool     // they fail, but are there
	outage error    // of all of the bucket
	takes  time.Duration
}

func newClockwork(t *testing.T) *clockwork {
	c := &clockwork{t: t, volume: uuid.New(), served: true}
	c.bucket = object.Fault(memory.New(), func(object.Call) object.Outcome {
		c.mu.Lock()
		defer c.mu.Unlock()
		return object.Outcome{Err: c.outage}
	})
	c.records = snapshot.NewCatalogue(c.bucket)
	return c
}

func (c *clockwork) set(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

// schedule gives the volume a schedule, as another gateway would.
func (c *clockwork) schedule(every time.Duration, keep snapshot.Keep) {
	c.t.Helper()
	s := &snapshot.Schedule{Volume: c.volume, Every: snapshot.Duration(every), At: 60, Zone: "UTC", Keep: keep, Created: time.Now()}
	if err := snapshot.NewSchedules(c.bucket).Put(c.t.Context(), s); err != nil {
		c.t.Fatal(err)
	}
}

func (c *clockwork) start() *scheduler {
	return newScheduler(snapshot.NewSchedules(c.bucket), c, slog.New(slog.DiscardHandler))
}

// pass lets time pass, and everything come to rest.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// expect compares the times of the snapshots that were tried since it was last called.
func (c *clockwork) expect(want ...string) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Equal(c.made, want) {
		c.t.Errorf("%s: made at %v, expected %v", time.Now().UTC().Format("02 15:04"), c.made, want)
	}
	c.made = nil
}

// kept returns the slots of the snapshots that there are.
func (c *clockwork) kept() string {
	c.t.Helper()
	all, err := c.records.List(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	var slots []string
	for _, s := range all {
		if s.Made == nil {
			slots = append(slots, "by hand")
			continue
		}
		slots = append(slots, s.Made.Slot.Format("02 15:04"))
	}
	return strings.Join(slots, ", ")
}

func (c *clockwork) Served(id uuid.UUID) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return "demo", c.served && id == c.volume
}

func (c *clockwork) Make(ctx context.Context, _ string, made *snapshot.Made) error {
	c.mu.Lock()
	fail, lost, takes := c.fail, c.lost, c.takes
	c.made = append(c.made, time.Now().UTC().Format("02 15:04"))
	c.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return ctx.Err()
	}
	if fail == nil || lost {
		if err := c.put(made); err != nil {
			return err
		}
	}
	return fail
}

func (c *clockwork) put(made *snapshot.Made) error {
	return c.records.Put(context.Background(), &snapshot.Snapshot{
		ID: uuid.New(), Volume: c.volume, Size: 1 << 20, Root: blockmap.Root{Key: "k"}, Created: time.Now().UTC(), Made: made,
	})
}

func (c *clockwork) List(ctx context.Context) ([]*snapshot.Snapshot, error) {
	return c.records.List(ctx)
}

func (c *clockwork) Delete(ctx context.Context, s *snapshot.Snapshot) error {
	return c.records.Delete(ctx, s.ID)
}

// inBubble runs a story of a clockwork.
func inBubble(t *testing.T, story func(t *testing.T, c *clockwork)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { story(t, newClockwork(t)) })
}

// TestScheduler makes snapshots through a day, keeps the last two of them, and those that somebody made by hand.
func TestScheduler(t *testing.T) {
	inBubble(t, func(t *testing.T, c *clockwork) {
		if err := c.put(nil); err != nil {
			t.Fatal(err)
		}
		c.schedule(8*time.Hour, snapshot.Keep{Last: 2})
		x := c.start()
		defer x.endSchedules()
		pass(time.Minute)
		c.expect()
		pass(24 * time.Hour)
		c.expect("01 01:00", "01 09:00", "01 17:00")
		if kept := c.kept(); kept != "by hand, 01 09:00, 01 17:00" {
			t.Error(kept)
		}
		if s := x.scheduleStatus(); s.Schedules != 1 || s.Failing != 0 || s.Error != "" {
			t.Errorf("%+v", s)
		}
		// Deleted by another gateway, it does nothing more.
		if err := snapshot.NewSchedules(c.bucket).Delete(t.Context(), c.volume); err != nil {
			t.Fatal(err)
		}
		pass(48 * time.Hour)
		c.expect()
	})
}

// TestSchedulerMissed starts a gateway after a week: of the slots that were missed one snapshot is made, once.
func TestSchedulerMissed(t *testing.T) {
	inBubble(t, func(t *testing.T, c *clockwork) {
		c.schedule(8*time.Hour, snapshot.Keep{})
		pass(7*24*time.Hour + 11*time.Hour)
		for _, want := range [][]string{{"08 11:00"}, nil, nil} {
			x := c.start()
			pass(time.Hour)
			x.endSchedules()
			c.expect(want...)
		}
		if kept := c.kept(); kept != "08 09:00" { // the slot
			t.Error(kept)
		}
	})
}

// TestSchedulerFails shows that failures are seen, tried again after growing pauses, and forgotten when it works again.
func TestSchedulerFails(t *testing.T) {
	inBubble(t, func(t *testing.T, c *clockwork) {
		c.schedule(8*time.Hour, snapshot.Keep{})
		c.set(func() { c.fail = errors.New("the volume is on holiday") })
		x := c.start()
		defer x.endSchedules()
		pass(time.Hour + 40*time.Minute)
		c.expect("01 01:00", "01 01:01", "01 01:03", "01 01:07", "01 01:15", "01 01:31")
		if s := x.scheduleStatus(); s.Failing != 1 || !strings.Contains(s.Error, "on holiday") {
			t.Errorf("%+v", s)
		}
		c.set(func() { c.fail = nil })
		pass(time.Hour)
		c.expect("01 02:01")
		if s := x.scheduleStatus(); s.Failing != 0 || s.Error != "" {
			t.Errorf("%+v", s)
		}
		// One that is there though its maker was told otherwise is not made again.
		c.set(func() { c.fail, c.lost = errors.New("no answer"), true })
		pass(8 * time.Hour)
		c.expect("01 09:00")
		if kept := c.kept(); kept != "01 01:00, 01 09:00" {
			t.Error(kept)
		}
	})
}

// TestSchedulerOfAnother shows that only the gateway that serves a volume makes its snapshots, and begins when it does.
func TestSchedulerOfAnother(t *testing.T) {
	inBubble(t, func(t *testing.T, c *clockwork) {
		c.set(func() { c.served = false })
		x := c.start()
		defer x.endSchedules()
		c.schedule(8*time.Hour, snapshot.Keep{})
		pass(10 * time.Hour)
		c.expect()
		c.set(func() { c.served = true })
		pass(reloadEvery)
		c.expect("01 10:05")
		// Another one serves it for a day, and makes its snapshots; then it comes back.
		c.set(func() { c.served = false })
		pass(22 * time.Hour)
		s, err := snapshot.NewSchedules(c.bucket).Get(t.Context(), c.volume)
		if err != nil {
			t.Fatal(err)
		}
		slot, _, err := s.Due(time.Time{}, time.Now())
		if err := errors.Join(err, c.put(&snapshot.Made{Schedule: s.ID, Slot: slot})); err != nil {
			t.Fatal(err)
		}
		c.set(func() { c.served = true })
		pass(10 * time.Minute)
		c.expect()
	})
}

// TestSchedulerOutage starts while the bucket is away: nothing is made on a guess, the status says so, and what is due is made afterwards.
func TestSchedulerOutage(t *testing.T) {
	inBubble(t, func(t *testing.T, c *clockwork) {
		c.schedule(8*time.Hour, snapshot.Keep{})
		pass(10 * time.Hour)
		c.set(func() { c.outage = &object.Error{Err: object.ErrInjected, Transient: true} })
		x := c.start()
		defer x.endSchedules()
		pass(time.Hour)
		c.expect()
		if s := x.scheduleStatus(); s.Error == "" {
			t.Errorf("%+v", s)
		}
		c.set(func() { c.outage = nil })
		pass(reloadEvery)
		c.expect("01 11:05")
		if s := x.scheduleStatus(); s.Error != "" {
			t.Errorf("%+v", s)
		}
	})
}

// TestSchedulerStops ends while a snapshot is being made: it is made when the gateway is back.
func TestSchedulerStops(t *testing.T) {
	inBubble(t, func(t *testing.T, c *clockwork) {
		c.schedule(8*time.Hour, snapshot.Keep{})
		c.set(func() { c.takes = time.Hour })
		x := c.start()
		pass(90 * time.Minute)
		x.endSchedules()
		c.expect("01 01:00")
		x = c.start()
		defer x.endSchedules()
		pass(30 * time.Minute)
		c.expect("01 01:30")
		pass(2 * time.Hour)
		c.expect()
		if kept := c.kept(); kept != "01 01:00" {
			t.Error(kept)
		}
	})
}
