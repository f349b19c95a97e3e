package volume

import (
	"testing"
	"time"
)

// TestElapsed has one of the two clocks jump.
func TestElapsed(t *testing.T) {
	since := time.Now()
	wall := since.Round(0)
	for name, test := range map[string]struct{ mono, wall, want time.Duration }{
		"both go on":                   {5 * time.Second, 5 * time.Second, 5 * time.Second},
		"the machine was suspended":    {time.Second, time.Hour, time.Hour},
		"the wall clock is set ahead":  {5 * time.Second, 24 * time.Hour, 24 * time.Hour},
		"the wall clock is set back":   {5 * time.Second, -24 * time.Hour, 5 * time.Second},
		"the wall clock goes too slow": {5 * time.Second, 4 * time.Second, 5 * time.Second},
	} {
		if got := elapsed(since.Add(test.mono), since, wall.Add(test.wall), wall); got != test.want {
			t.Errorf("%s: %v, not %v", name, got, test.want)
		}
	}
}
