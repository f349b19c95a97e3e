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

// pace rests after an upload if writes came in while it ran. Appends were at before when it began.
func (v *Volume) pace(ctx context.Context, took time.Duration, before uint64) error {
	v.mu.Lock()
	writing := v.appends != before
	v.mu.Unlock()
	if !writing {
		return nil
	}
	used, limit := v.opts.Buffer.Usage()
	return sleep(ctx, rest(took, float64(used)/float64(limit)))
}
