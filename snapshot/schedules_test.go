package snapshot

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"sluice/object"
	"sluice/object/memory"
)

// newID returns an ID that looks like one and is the same each time.
func newID(n int) (id uuid.UUID) {
	binary.BigEndian.PutUint32(id[:], uint32(n)+1)
	id[6], id[8] = 0x40, 0x80
	return id
}

func exampleSchedule() *Schedule {
	s := every(4*time.Hour, "01:00", "Europe/Berlin")
	s.Format, s.ID, s.Volume, s.Nonce = 1, newID(1), newID(2), newID(3)
	s.Keep = Keep{Hourly: 24, Daily: 7, Weekly: 4, Monthly: 12}
	s.Created = time.Date(2026, 11, 23, 5, 48, 34, 0, time.UTC)
	return s
}

// TestScheduleGolden holds the record's format.
func TestScheduleGolden(t *testing.T) {
	path, want, store := filepath.Join("testdata", "golden", "schedule-v1.json"), exampleSchedule(), memory.New()
	if *update {
		s := *want
		if err := NewSchedules(store).Put(t.Context(), &s); err != nil {
			t.Fatal(err)
		}
		body, _, err := store.GetRange(t.Context(), scheduleKey(want.Volume), 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		// These two are made up when it is stored.
		body = bytes.ReplaceAll(body, []byte(s.ID.String()), []byte(want.ID.String()))
		body = bytes.ReplaceAll(body, []byte(s.Nonce.String()), []byte(want.Nonce.String()))
		if err := os.WriteFile(path, body, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeSchedule(scheduleKey(want.Volume), body)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestSchedules sets, replaces, lists and deletes schedules, and counts what a second look costs.
func TestSchedules(t *testing.T) {
	gets := 0
	store := object.Fault(memory.New(), func(c object.Call) object.Outcome {
		if c.Op == object.OpGetRange {
			gets++
		}
		return object.Outcome{}
	})
	l := NewSchedules(store)
	first, second := exampleSchedule(), exampleSchedule()
	second.Volume = newID(7)
	for _, s := range []*Schedule{first, second} {
		if err := l.Put(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	list := func() []*Schedule {
		t.Helper()
		all, err := l.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	if diff := cmp.Diff([]*Schedule{first, second}, list()); diff != "" {
		t.Error(diff)
	}
	gets = 0
	list()
	if gets > 0 {
		t.Errorf("%d reads of what had not changed", gets)
	}
	changed := *first
	changed.Keep = Keep{Last: 3}
	if err := l.Put(t.Context(), &changed); err != nil {
		t.Fatal(err)
	}
	gets = 0
	if diff := cmp.Diff([]*Schedule{&changed, second}, list()); diff != "" || changed.ID != first.ID || gets != 1 {
		t.Errorf("after %d reads: %s", gets, diff)
	}
	if err := l.Delete(t.Context(), first.Volume); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]*Schedule{second}, list()); diff != "" {
		t.Error(diff)
	}
	if _, err := l.Get(t.Context(), first.Volume); !errors.Is(err, ErrNoSchedule) {
		t.Error(err)
	}
}

// TestBadSchedules shows that a record that cannot be understood is an error, and takes no other one with it.
func TestBadSchedules(t *testing.T) {
	good := exampleSchedule()
	key := scheduleKey(newID(9))
	const head = `{"format":1,"id":"00000002-0000-4000-8000-000000000000","volume":"0000000a-0000-4000-8000-000000000000",`
	for name, body := range map[string]string{
		"empty":           "",
		"not JSON":        "x",
		"nothing":         "{}",
		"another's":       strings.Replace(head, "0000000a", "0000000b", 1) + `"every":"4h","at":"01:00","zone":"UTC"}`,
		"of a later time": strings.Replace(head, `"format":1`, `"format":2`, 1) + `"every":"4h","at":"01:00","zone":"UTC"}`,
		"no such zone":    head + `"every":"4h","at":"01:00","zone":"Mars"}`,
		"no duration":     head + `"every":"x","at":"01:00","zone":"UTC"}`,
		"an odd duration": head + `"every":"7h","at":"01:00","zone":"UTC"}`,
		"no time":         head + `"every":"4h","at":"1","zone":"UTC"}`,
	} {
		store := memory.New()
		l := NewSchedules(store)
		if err := l.Put(t.Context(), good); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Put(t.Context(), key, []byte(body)); err != nil {
			t.Fatal(err)
		}
		if list, err := l.List(t.Context()); err == nil || len(list) != 1 {
			t.Errorf("%s: %v, %v", name, list, err)
		}
		if _, err := l.Get(t.Context(), newID(9)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestPutSchedule has each request of a change fail, and its answer be lost: what is said to be stored is, and nothing else.
func TestPutSchedule(t *testing.T) {
	for _, lost := range []bool{false, true} {
		for _, op := range []object.Op{object.OpGetRange, object.OpPutIf} {
			hook := func(c object.Call) object.Outcome {
				if c.Op == op && c.N == 1 {
					if lost && op == object.OpPutIf {
						return object.Outcome{Lost: true}
					}
					return object.Outcome{Err: &object.Error{Op: op, Err: object.ErrInjected, Transient: true}}
				}
				return object.Outcome{}
			}
			l := NewSchedules(object.Fault(memory.New(), hook))
			s := exampleSchedule()
			if err := l.Put(context.Background(), s); err != nil {
				t.Fatal(err)
			}
			changed := *s
			changed.Keep = Keep{Last: 9}
			err := l.Put(context.Background(), &changed)
			now, gerr := l.Get(context.Background(), s.Volume)
			if gerr != nil {
				t.Fatal(gerr)
			}
			if stored := now.Keep == changed.Keep; stored != (err == nil) {
				t.Errorf("%s, lost %v: stored is %v, and the answer %v", op, lost, stored, err)
			}
		}
	}
}

// FuzzSchedule takes any bytes for the record of a schedule: what is accepted has slots, promptly.
func FuzzSchedule(f *testing.F) {
	good, err := os.ReadFile(filepath.Join("testdata", "golden", "schedule-v1.json"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, int64(1_800_000_000))
	f.Add(bytes.ReplaceAll(good, []byte("4h0m0s"), []byte("8784h0m0s")), int64(-1))
	f.Add(bytes.ReplaceAll(good, []byte("Europe/Berlin"), []byte("Pacific/Apia")), int64(1_325_200_000))
	f.Add([]byte("{}"), int64(0))
	key := scheduleKey(newID(2))
	f.Fuzz(func(t *testing.T, body []byte, at int64) {
		s, err := decodeSchedule(key, body)
		if err != nil {
			return
		}
		now := time.Unix(at%(1<<40), 0)
		next, err := s.Next(now)
		if err != nil || !next.After(now) {
			t.Fatalf("after %v comes %v: %v", now, next, err)
		}
		if slot, due, err := s.Due(time.Time{}, now); err != nil || due && slot.After(now) {
			t.Fatalf("at %v, %v is due: %v", now, slot, err)
		}
		if _, err := s.Prune(madeBy(s, now, next)); err != nil {
			t.Fatal(err)
		}
	})
}
