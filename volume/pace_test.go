package volume

import (
	"testing"
	"time"
)

func TestRest(t *testing.T) {
	for _, c := range []struct {
		took time.Duration
		fill float64
		want time.Duration
	}{
		{10 * time.Millisecond, 0, 320 * time.Millisecond},
		{10 * time.Millisecond, 0.25, 160 * time.Millisecond},
		{10 * time.Millisecond, 0.5, 0},
		{10 * time.Millisecond, 1, 0},
		{time.Minute, 0, paceLongest},
		{0, 0, 0},
	} {
		if got := rest(c.took, c.fill); got != c.want {
			t.Errorf("rest(%v, %v) = %v, want %v", c.took, c.fill, got, c.want)
		}
	}
}
