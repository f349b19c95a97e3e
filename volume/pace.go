package volume

import (
	"context"
	"time"
)

const (
	// paceUntil is the share of the upload buffer up to which uploads give way to writes.
	paceUntil = 0.5
	// paceFactor is how many times as long as an upload took its worker rests while the
	// buffer is empty, and paceLongest bounds that: over a slow network, where an upload is
	// mostly waiting, there is little to give way with.
	paceFactor  = 32
	paceLongest = time.Second
	// paceLook is how often a resting worker looks whether there are still writes.
	paceLook = 20 * time.Millisecond
)

// rest returns how long an uploader rests after an upload that took so long, with the
// upload buffer filled to a share of fill. An upload reads, compresses and sends what was just
// written, so it competes with the writes of the moment for CPU, disk and network: while there is
// much room it yields to them, and the less there is, the less it does.
func rest(took time.Duration, fill float64) time.Duration {
	if fill >= paceUntil {
		return 0
	}
	return min(time.Duration(float64(took)*paceFactor*(1-fill/paceUntil)), paceLongest)
}

// pace rests after an upload for as long as writes keep coming in and nobody waits for uploads. Appends were at seen when
// the upload began.
func (v *Volume) pace(ctx context.Context, took time.Duration, seen uint64) error {
	used, limit := v.opts.Buffer.Usage()
	left := rest(took, float64(used)/float64(limit))
	for left > 0 {
		v.mu.Lock()
		now, cut := v.appends, v.cut != nil
		v.mu.Unlock()
		if now == seen || cut || v.publishing.Load() > 0 {
			return nil
		}
		seen = now
		if err := sleep(ctx, min(left, paceLook)); err != nil {
			return err
		}
		left -= paceLook
	}
	return nil
}
