package snapshot

import (
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// scheduleFormat is the version of the record that this code writes. It refuses greater ones.
const scheduleFormat = 1

// Schedule says when snapshots of a volume are made, and which of them are kept. There is at most one for a volume:
// schedules/<volume>.json.
//
// Its slots are moments: one each day at the local time At, and from there one after each Every until that of the next day. A
// day that is an hour longer or shorter than others, because clocks are changed, has more or fewer of them: no two slots that follow each
// other are further apart than Every (an Every of days: than that many days by the calendar). An At that a day does not have is an hour
// off on that day.
type Schedule struct {
	Format  int       `json:"format"`
	ID      uuid.UUID `json:"id"` // of this schedule; another one for the same volume has another
	Volume  uuid.UUID `json:"volume"`
	Every   Duration  `json:"every"` // divides a day, or is a number of whole days
	At      TimeOfDay `json:"at"`
	Zone    string    `json:"zone"` // IANA name of a time zone, for At and the periods of Keep
	Keep    Keep      `json:"keep,omitzero"`
	Created time.Time `json:"created"` // slots before do not count
	Nonce   uuid.UUID `json:"nonce"`
}

// Made says which schedule made a snapshot, and for which of its slots.
type Made struct {
	Schedule uuid.UUID `json:"id"`
	Slot     time.Time `json:"slot"`
}

const (
	minEvery = 5 * time.Minute
	maxEvery = 366 * day
	day      = 24 * time.Hour
)

// Check says what is wrong with a schedule that somebody asks for.
func (s *Schedule) Check() error {
	every := time.Duration(s.Every)
	switch {
	case every < minEvery || every > maxEvery:
		return fmt.Errorf("every %v: it must be between %v and %d days", every, minEvery, maxEvery/day)
	case every < day && day%every != 0:
		return fmt.Errorf("every %v: it must divide a day, as 5m, 1h, 4h and 12h do", every)
	case every > day && every%day != 0:
		return fmt.Errorf("every %v: above a day it must be whole days, as 48h and 168h are", every)
	}
	if err := s.At.check(); err != nil {
		return err
	}
	if _, err := s.location(); err != nil {
		return err
	}
	return s.Keep.check()
}

func (s *Schedule) location() (*time.Location, error) {
	if s.Zone == "Local" { // it would mean another time on each gateway
		return nil, errors.New(`time zone "Local": write its name, as Europe/Paris or UTC`)
	}
	loc, err := time.LoadLocation(s.Zone)
	if err != nil {
		return nil, fmt.Errorf("time zone %q: %w", s.Zone, err)
	}
	return loc, nil
}

// Next returns the first slot after a moment.
func (s *Schedule) Next(after time.Time) (time.Time, error) {
	loc, err := s.location()
	if err != nil {
		return time.Time{}, err
	}
	var best time.Time
	for _, seg := range s.stretches(after, loc) {
		t := seg.start
		if !t.After(after) {
			t = t.Add((after.Sub(t)/seg.step + 1) * seg.step)
		}
		if t.Before(seg.end) && (best.IsZero() || t.Before(best)) {
			best = t
		}
	}
	return best, nil
}

// Due returns the slot for which a snapshot is to be made now, if there is one: the last one that is over. done is the slot of the
// last snapshot that the schedule made, or zero. Of slots that were missed, because no gateway ran, only the last
// is due.
func (s *Schedule) Due(done, now time.Time) (slot time.Time, due bool, err error) {
	loc, err := s.location()
	if err != nil {
		return time.Time{}, false, err
	}
	for _, seg := range s.stretches(now, loc) {
		if seg.start.After(now) {
			continue
		}
		t := seg.start.Add(now.Sub(seg.start) / seg.step * seg.step)
		if !t.Before(seg.end) {
			t = seg.start.Add((seg.end.Sub(seg.start) - 1) / seg.step * seg.step)
		}
		if t.After(slot) {
			slot = t
		}
	}
	return slot, !slot.IsZero() && slot.After(done) && !slot.Before(s.Created), nil
}

// stretch is the time from one anchor to the next; a slot is at its start and after each step.
type stretch struct {
	start, end time.Time
	step       time.Duration
}

// stretches returns those around a moment, the one before and the one behind it included.
func (s *Schedule) stretches(around time.Time, loc *time.Location) []stretch {
	every := time.Duration(s.Every)
	days := max(int(every/day), 1)
	local := around.In(loc)
	today := int(time.Date(local.Year(), local.Month(), local.Day(), 0, 0, 0, 0, time.UTC).Unix() / int64(day/time.Second))
	// Days count from a Monday, so that what comes each week comes on Mondays.
	const monday = 4 // 5 January 1970
	first := today - ((today-monday)%days+days)%days - 2*days
	anchor := func(n int) time.Time {
		return time.Date(1970, 1, 1+n, int(s.At)/60, int(s.At)%60, 0, 0, loc)
	}
	var out []stretch
	for n := first; n <= today+2*days; n += days {
		seg := stretch{start: anchor(n), end: anchor(n + days), step: every}
		if days > 1 || every == day {
			seg.step = seg.end.Sub(seg.start) // one slot, however long its days are
		}
		if seg.start.Before(seg.end) { // else its zone left out this day
			out = append(out, seg)
		}
	}
	return out
}

// TimeOfDay is a local time, in minutes since midnight. Its text is 15:04.
type TimeOfDay int

func (t TimeOfDay) check() error {
	if t < 0 || t >= TimeOfDay(day/time.Minute) {
		return fmt.Errorf("%d minutes after midnight is no time of day", int(t))
	}
	return nil
}

// String returns its text.
func (t TimeOfDay) String() string { return fmt.Sprintf("%02d:%02d", int(t)/60, int(t)%60) }

// MarshalText implements encoding.TextMarshaler.
func (t TimeOfDay) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (t *TimeOfDay) UnmarshalText(b []byte) error {
	v, err := time.Parse("15:04", string(b))
	if err != nil {
		return fmt.Errorf("%q is no time of day: write it as 01:30", b)
	}
	*t = TimeOfDay(v.Hour()*60 + v.Minute())
	return nil
}

// Duration is a time.Duration whose text is that of Go, as 4h0m0s.
type Duration time.Duration

// String returns its text.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("%q is no duration: write it as 4h or 30m", b)
	}
	*d = Duration(v)
	return nil
}
