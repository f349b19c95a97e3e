package snapshot

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func every(d time.Duration, at, zone string) *Schedule {
	s := &Schedule{Every: Duration(d), Zone: zone}
	if err := s.At.UnmarshalText([]byte(at)); err != nil {
		panic(err)
	}
	return s
}

// TestNext lists the slots that follow a moment, in local time.
func TestNext(t *testing.T) {
	for _, test := range []struct {
		name  string
		s     *Schedule
		after string // RFC 3339
		want  string // times, of which days are said where they change
	}{
		{"each day", every(24*time.Hour, "01:00", "UTC"), "2026-11-23T00:59:59Z", "23 01:00, 24 01:00, 25 01:00"},
		{"the moment itself does not count", every(24*time.Hour, "01:00", "UTC"), "2026-11-23T01:00:00Z", "24 01:00, 25 01:00"},
		{"each four hours from one o'clock", every(4*time.Hour, "01:00", "UTC"), "2026-11-23T18:00:00Z", "23 21:00, 24 01:00, 24 05:00"},
		{"before the day's first", every(4*time.Hour, "03:00", "UTC"), "2026-11-23T00:10:00Z", "23 03:00, 23 07:00"},
		{"in another zone", every(12*time.Hour, "01:00", "Asia/Kolkata"), "2026-11-23T00:00:00Z", "23 13:00, 24 01:00"},
		{"each week, on Monday", every(7*24*time.Hour, "01:00", "UTC"), "2026-11-18T00:00:00Z", "23 01:00, 30 01:00"},
		{"each other day", every(48*time.Hour, "01:00", "UTC"), "2026-11-22T02:00:00Z", "23 01:00, 25 01:00"},

		// In Berlin, 29 March 2026 has no 02:00 to 03:00, and 25 October has it twice.
		{"each day, spring", every(24*time.Hour, "01:00", "Europe/Berlin"), "2026-03-28T12:00:00Z", "29 01:00, 30 01:00"},
		{"a time that the day has not", every(24*time.Hour, "02:30", "Europe/Berlin"), "2026-03-28T12:00:00Z", "29 03:30, 30 02:30"},
		{"each hour, spring", every(time.Hour, "00:00", "Europe/Berlin"), "2026-03-28T23:30:00Z", "29 01:00, 29 03:00, 29 04:00"},
		{"each hour, autumn", every(time.Hour, "00:00", "Europe/Berlin"), "2026-10-24T22:30:00Z", "25 01:00, 25 02:00, 25 02:00, 25 03:00"},
		{"each four hours, spring", every(4*time.Hour, "01:00", "Europe/Berlin"), "2026-03-29T15:00:00Z", "29 18:00, 29 22:00, 30 01:00, 30 05:00"},
		{"each four hours, autumn", every(4*time.Hour, "01:00", "Europe/Berlin"), "2026-10-25T14:59:00Z", "25 16:00, 25 20:00, 26 00:00, 26 01:00, 26 05:00"},
		{"each week, autumn", every(7*24*time.Hour, "01:00", "Europe/Berlin"), "2026-10-20T00:00:00Z", "26 01:00, 02 01:00"},

		// Samoa had no 30 December 2011.
		{"a day that is not", every(24*time.Hour, "01:00", "Pacific/Apia"), "2011-12-29T12:00:00Z", "31 01:00, 01 01:00"},
	} {
		at, err := time.Parse(time.RFC3339, test.after)
		if err != nil {
			t.Fatal(err)
		}
		loc, err := time.LoadLocation(test.s.Zone)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for range strings.Count(test.want, ",") + 1 {
			if at, err = test.s.Next(at); err != nil {
				t.Fatal(err)
			}
			got = append(got, at.In(loc).Format("02 15:04"))
		}
		if text := strings.Join(got, ", "); text != test.want {
			t.Errorf("%s: %s, expected %s", test.name, text, test.want)
		}
	}
}

var zones = []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Pacific/Apia", "America/Sao_Paulo", "Pacific/Chatham"}

func drawSchedule(t *rapid.T) *Schedule {
	return &Schedule{
		Every: Duration(rapid.SampledFrom([]time.Duration{
			5 * time.Minute, 30 * time.Minute, time.Hour, 4 * time.Hour, 8 * time.Hour, 12 * time.Hour, day, 2 * day, 7 * day, 30 * day, 366 * day,
		}).Draw(t, "every")),
		At:   TimeOfDay(rapid.IntRange(0, 24*60-1).Draw(t, "at")),
		Zone: rapid.SampledFrom(zones).Draw(t, "zone"),
	}
}

func drawTime(t *rapid.T, name string) time.Time {
	return time.Unix(rapid.Int64Range(1.2e9, 2.2e9).Draw(t, name), 0) // 2008 to 2039
}

// TestSlots holds what is promised of slots, in zones that change their clocks at odd times and by odd amounts.
func TestSlots(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSchedule(t)
		if err := s.Check(); err != nil {
			t.Fatal(err)
		}
		at := drawTime(t, "after")
		longest := time.Duration(s.Every)
		if longest >= day {
			longest += 25 * time.Hour // a day more, and an hour, around where a zone left a day out or changed its clocks
		}
		for range 10 {
			next, err := s.Next(at)
			if err != nil || !next.After(at) || next.Sub(at) > longest {
				t.Fatalf("after %v: %v, %v", at, next, err)
			}
			// Nothing is due between the two, and the slot is due from its moment on.
			if slot, due, err := s.Due(next.Add(-1), next); err != nil || !due || !slot.Equal(next) {
				t.Fatalf("at %v: %v %v %v", next, slot, due, err)
			}
			if slot, due, err := s.Due(at, next.Add(-1)); err != nil || due {
				t.Fatalf("before %v: %v is due: %v", next, slot, err)
			}
			if slot, due, err := s.Due(next, next); err != nil || due {
				t.Fatalf("when the snapshot of %v was made: %v is due again: %v", next, slot, err)
			}
			at = next
		}
	})
}

// TestDue shows that of many missed slots one is made, and none from before the schedule.
func TestDue(t *testing.T) {
	s := every(4*time.Hour, "01:00", "UTC")
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	s.Created = now.Add(-100 * time.Hour)
	for _, test := range []struct {
		name string
		done time.Time
		want string
	}{
		{"never made", time.Time{}, "23 09:00"},
		{"long ago", now.Add(-90 * time.Hour), "23 09:00"},
		{"the one before", now.Add(-5 * time.Hour), "23 09:00"},
		{"made", now.Add(-time.Hour), ""},
		{"made later: a clock went back", now.Add(time.Hour), ""},
	} {
		slot, due, err := s.Due(test.done, now)
		if got := slot.Format("02 15:04"); err != nil || due != (test.want != "") || due && got != test.want {
			t.Errorf("%s: %s %v %v", test.name, got, due, err)
		}
	}
	s.Created = now.Add(-30 * time.Minute)
	if slot, due, err := s.Due(time.Time{}, now); due || err != nil {
		t.Errorf("%v is from before the schedule was made", slot)
	}
}

// TestCheck lists schedules that make no sense.
func TestCheck(t *testing.T) {
	for name, s := range map[string]*Schedule{
		"does not divide a day": every(5*time.Hour, "01:00", "UTC"),
		"not whole days":        every(36*time.Hour, "01:00", "UTC"),
		"too often":             every(time.Minute, "01:00", "UTC"),
		"negative":              every(-time.Hour, "01:00", "UTC"),
		"never":                 every(0, "01:00", "UTC"),
		"too seldom":            every(400*24*time.Hour, "01:00", "UTC"),
		"no such zone":          every(time.Hour, "01:00", "Mars/Olympus"),
		"another zone each":     every(time.Hour, "01:00", "Local"),
		"no such time":          {Every: Duration(time.Hour), At: 24 * 60},
		"negative keep":         {Every: Duration(time.Hour), Keep: Keep{Daily: -1}},
	} {
		if err := s.Check(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := new(TimeOfDay).UnmarshalText([]byte("25:00")); err == nil {
		t.Error("25:00 is a time of day")
	}
}

func TestParseKeep(t *testing.T) {
	const text = "hourly=24,daily=7,weekly=4,monthly=12"
	k, err := ParseKeep(text)
	if err != nil || k.String() != text || k != (Keep{Hourly: 24, Daily: 7, Weekly: 4, Monthly: 12}) {
		t.Errorf("%+v, %s, %v", k, k, err)
	}
	for _, bad := range []string{"daily", "daily=", "daily=x", "daily=1,daily=2", "minutely=3", "daily=-1", "daily=99999", ",", "daily=0"} {
		if k, err := ParseKeep(bad); err == nil {
			t.Errorf("%q: %+v", bad, k)
		}
	}
}

// madeBy returns snapshots that a schedule made at moments.
func madeBy(s *Schedule, times ...time.Time) []*Snapshot {
	var list []*Snapshot
	for _, at := range times {
		one := example()
		one.ID, one.Volume, one.Created, one.Made = newID(len(list)), s.Volume, at, &Made{Schedule: s.ID, Slot: at}
		list = append(list, one)
	}
	return list
}

// TestPrune tells which moments of a table are left.
func TestPrune(t *testing.T) {
	const layout = "2006-01-02 15:04"
	for _, test := range []struct {
		name, zone string
		keep       Keep
		all, want  string
	}{
		{"all", "UTC", Keep{}, "2026-11-01 01:00, 2026-11-02 01:00", "2026-11-01 01:00, 2026-11-02 01:00"},
		{"the last", "UTC", Keep{Last: 2}, "2026-11-01 01:00, 2026-11-02 01:00, 2026-11-03 01:00", "2026-11-02 01:00, 2026-11-03 01:00"},
		{
			"the last of each day", "UTC",
			Keep{Daily: 2},
			"2026-11-01 23:00, 2026-11-02 01:00, 2026-11-02 05:00, 2026-11-03 01:00, 2026-11-03 05:00", "2026-11-02 05:00, 2026-11-03 05:00",
		},
		{"days without one do not count", "UTC", Keep{Daily: 2}, "2026-01-01 01:00, 2026-02-01 01:00, 2026-03-01 01:00", "2026-02-01 01:00, 2026-03-01 01:00"},
		{
			"days and weeks", "UTC",
			Keep{Daily: 1, Weekly: 2},
			"2026-11-13 01:00, 2026-11-15 01:00, 2026-11-20 01:00, 2026-11-22 01:00, 2026-11-23 01:00", "2026-11-22 01:00, 2026-11-23 01:00",
		},
		{
			"months and years", "UTC",
			Keep{Monthly: 2, Yearly: 3},
			"2024-05-01 01:00, 2024-06-01 01:00, 2025-12-01 01:00, 2026-10-01 01:00, 2026-11-01 01:00", "2024-06-01 01:00, 2025-12-01 01:00, 2026-10-01 01:00, 2026-11-01 01:00",
		},
		{"the week of two years", "UTC", Keep{Weekly: 1}, "2026-12-31 01:00, 2027-01-01 01:00", "2027-01-01 01:00"},
		{"days are local", "America/New_York", Keep{Daily: 2}, "2026-11-10 03:00, 2026-11-10 06:00", "2026-11-10 03:00, 2026-11-10 06:00"},
		{"and else one day", "UTC", Keep{Daily: 2}, "2026-11-10 03:00, 2026-11-10 06:00", "2026-11-10 06:00"},
		{
			"an hour that comes twice", "Europe/Berlin",
			Keep{Hourly: 2},
			"2026-10-24 23:30, 2026-10-25 00:30, 2026-10-25 01:30", "2026-10-25 00:30, 2026-10-25 01:30",
		},
	} {
		s := every(time.Hour, "01:00", test.zone)
		s.ID, s.Keep = newID(1000), test.keep
		var times []time.Time
		for text := range strings.SplitSeq(test.all, ", ") {
			at, err := time.Parse(layout, text)
			if err != nil {
				t.Fatal(err)
			}
			times = append(times, at)
		}
		all := madeBy(s, times...)
		gone, err := s.Prune(all)
		if err != nil {
			t.Fatal(err)
		}
		var left []string
		for _, one := range all {
			if !slices.Contains(gone, one) {
				left = append(left, one.Created.Format(layout))
			}
		}
		if text := strings.Join(left, ", "); text != test.want {
			t.Errorf("%s: %s", test.name, cmp.Diff(test.want, text))
		}
	}
}

// TestPruneOfStrangers shows that nobody else's snapshot is ever deleted.
func TestPruneOfStrangers(t *testing.T) {
	s := every(time.Hour, "01:00", "UTC")
	s.ID, s.Keep = newID(1000), Keep{Last: 1}
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	all := madeBy(s, now, now.Add(1), now.Add(2), now.Add(3), now.Add(4))
	all[0].Made = nil                          // by hand
	all[1].Made = &Made{Schedule: newID(2000)} // by another schedule
	all[2].Volume = newID(3000)                // of another volume
	if gone, err := s.Prune(all); err != nil || len(gone) != 1 || gone[0] != all[3] {
		t.Errorf("%v %v", gone, err)
	}
}

// TestPruneProperties holds what is promised of any retention.
func TestPruneProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSchedule(t)
		s.ID = newID(1000)
		n := func(name string) int { return rapid.IntRange(0, 5).Draw(t, name) }
		s.Keep = Keep{Last: n("last"), Hourly: n("hourly"), Daily: n("daily"), Weekly: n("weekly"), Monthly: n("monthly"), Yearly: n("yearly")}
		start := drawTime(t, "start")
		var times []time.Time
		for range rapid.IntRange(0, 60).Draw(t, "snapshots") {
			start = start.Add(time.Duration(rapid.Int64Range(1, int64(40*day)).Draw(t, "pause")))
			times = append(times, start)
		}
		all := madeBy(s, times...)
		gone, err := s.Prune(all)
		if err != nil {
			t.Fatal(err)
		}
		left := slices.DeleteFunc(slices.Clone(all), func(one *Snapshot) bool { return slices.Contains(gone, one) })
		most := s.Keep.Last + s.Keep.Hourly + s.Keep.Daily + s.Keep.Weekly + s.Keep.Monthly + s.Keep.Yearly
		switch {
		case len(all) > 0 && (len(left) == 0 || left[len(left)-1] != all[len(all)-1]):
			t.Fatal("the newest is gone")
		case s.Keep == (Keep{}) && len(gone) > 0:
			t.Fatal("a schedule that keeps all does not")
		case most > 0 && len(left) > most:
			t.Fatalf("%d are kept, of at most %d", len(left), most)
		case len(left) < min(s.Keep.Last, len(all)):
			t.Fatalf("%d are kept, of the last %d", len(left), s.Keep.Last)
		}
		// What is left is left again, and each snapshot that is made later makes others go only, never come back.
		if again, err := s.Prune(left); err != nil || len(again) > 0 {
			t.Fatalf("pruned again: %v %v", again, err)
		}
		for i := range all {
			before, err := s.Prune(all[:i])
			if err != nil {
				t.Fatal(err)
			}
			for _, one := range before {
				if !slices.Contains(gone, one) {
					t.Fatalf("%v was pruned when %d were made, and would be kept of all", one.Created, i)
				}
			}
		}
	})
}
