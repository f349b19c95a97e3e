package snapshot

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Keep says which snapshots of a schedule are kept. Of each of the last Hourly hours in which a snapshot was made, the last one of the hour is
// kept; likewise for days, weeks (from Monday), months and years, in the schedule's time zone. Periods
// without a snapshot do not count. The last Last are kept, whenever they were made. The zero Keep keeps all.
type Keep struct {
	Last    int `json:"last,omitempty"`
	Hourly  int `json:"hourly,omitempty"`
	Daily   int `json:"daily,omitempty"`
	Weekly  int `json:"weekly,omitempty"`
	Monthly int `json:"monthly,omitempty"`
	Yearly  int `json:"yearly,omitempty"`
}

// rule is one of the rules of a Keep.
type rule struct {
	name   string
	count  *int
	period func(time.Time) string // equal for moments of one period
}

func (k *Keep) rules() []rule {
	format := func(layout string) func(time.Time) string {
		return func(t time.Time) string { return t.Format(layout) }
	}
	return []rule{
		{"last", &k.Last, nil},
		{"hourly", &k.Hourly, format("2006-01-02T15-0700")}, // an hour that clocks go through twice is two
		{"daily", &k.Daily, format("2006-01-02")},
		{"weekly", &k.Weekly, func(t time.Time) string {
			year, week := t.ISOWeek()
			return fmt.Sprintf("%d-%d", year, week)
		}},
		{"monthly", &k.Monthly, format("2006-01")},
		{"yearly", &k.Yearly, format("2006")},
	}
}

// maxKeep bounds each number: enough for two years of hours.
const maxKeep = 20000

func (k *Keep) check() error {
	for _, r := range k.rules() {
		if *r.count < 0 || *r.count > maxKeep {
			return fmt.Errorf("keep %s=%d: it must be from 0 to %d", r.name, *r.count, maxKeep)
		}
	}
	return nil
}

// ParseKeep reads what String writes, such as hourly=24,daily=7. Empty text keeps all.
func ParseKeep(text string) (Keep, error) {
	var k Keep
	if text == "" {
		return k, nil
	}
	rules := k.rules()
	seen := map[string]bool{}
	for part := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		i := slices.IndexFunc(rules, func(r rule) bool { return r.name == name })
		n, err := strconv.Atoi(value)
		if i < 0 || err != nil || seen[name] {
			return Keep{}, fmt.Errorf("keep %q: write it as hourly=24,daily=7,weekly=4,monthly=12; last and yearly exist, too", part)
		}
		seen[name] = true
		*rules[i].count = n
	}
	if err := k.check(); err != nil {
		return Keep{}, err
	}
	if k == (Keep{}) {
		return Keep{}, errors.New("keep: all numbers are 0; to keep all snapshots, leave it out")
	}
	return k, nil
}

// String returns its text; empty for one that keeps all.
func (k Keep) String() string {
	var parts []string
	for _, r := range k.rules() {
		if *r.count > 0 {
			parts = append(parts, fmt.Sprintf("%s=%d", r.name, *r.count))
		}
	}
	return strings.Join(parts, ",")
}

// Prune returns those of the snapshots of a schedule's volume that the schedule does not keep, the oldest first. Only
// snapshots that it made itself are among them, and never the newest of these.
func (s *Schedule) Prune(all []*Snapshot) ([]*Snapshot, error) {
	loc, err := s.location()
	if err != nil {
		return nil, err
	}
	if s.Keep == (Keep{}) {
		return nil, nil
	}
	var own []*Snapshot
	for _, snap := range all {
		if snap.Volume == s.Volume && snap.Made != nil && snap.Made.Schedule == s.ID {
			own = append(own, snap)
		}
	}
	slices.SortFunc(own, func(a, b *Snapshot) int { // the newest first
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(b.ID.String(), a.ID.String()))
	})
	kept := map[*Snapshot]bool{}
	if len(own) > 0 {
		kept[own[0]] = true
	}
	for _, r := range s.Keep.rules() {
		left, last := *r.count, ""
		for i, snap := range own {
			period := strconv.Itoa(i)
			if r.period != nil {
				period = r.period(snap.Created.In(loc))
			}
			if left == 0 {
				break
			}
			if period != last {
				kept[snap], last = true, period
				left--
			}
		}
	}
	own = slices.DeleteFunc(own, func(snap *Snapshot) bool { return kept[snap] })
	slices.Reverse(own)
	return own, nil
}
