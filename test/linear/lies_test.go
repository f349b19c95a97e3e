package linear

import (
	"bytes"
	"context"
	"math/rand/v2"
	"sync"
	"testing"

	"sluice/target/sbc"
)

// liar is a disk that lies once in a while about what the clients share.
type liar struct {
	sbc.Disk
	lie   string
	every int
	mu    sync.Mutex
	old   map[int64][]byte // what was at an offset before a write of it
}

func (d *liar) now(off int64) bool { return off < fillerFrom && rand.IntN(d.every) == 0 }

// Read may return what was there before.
func (d *liar) Read(ctx context.Context, p []byte, off int64, wait bool) error {
	err := d.Disk.Read(ctx, p, off, wait)
	if err != nil || d.lie != "a read returns what was there before" || !d.now(off) {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for at, was := range d.old {
		if at >= off && at+int64(len(was)) <= off+int64(len(p)) {
			copy(p[at-off:], was)
		}
	}
	return nil
}

// Write may forget.
func (d *liar) Write(ctx context.Context, bufs [][]byte, offs []int64, wait bool) error {
	switch {
	case d.lie == "a write is forgotten" && d.now(offs[0]):
		return nil
	case d.lie == "half of a sector is written" && d.now(offs[0]):
		whole := bufs[0]
		half := bytes.Clone(whole[:min(len(whole), 512)])
		if err := d.Disk.Read(ctx, half, offs[0], true); err != nil {
			return err
		}
		copy(half[:256], whole)
		return d.Disk.Write(ctx, [][]byte{half}, offs[:1], true)
	case d.lie == "a read returns what was there before":
		d.mu.Lock()
		for i, p := range bufs {
			was := make([]byte, len(p))
			if d.Disk.Read(ctx, was, offs[i], true) == nil {
				d.old[offs[i]] = was
			}
		}
		d.mu.Unlock()
	}
	return d.Disk.Write(ctx, bufs, offs, wait)
}

// Zero may do nothing.
func (d *liar) Zero(ctx context.Context, off, n int64, unmap bool) error {
	if d.lie == "zeroing does nothing" && d.now(off) {
		return nil
	}
	return d.Disk.Zero(ctx, off, n, unmap)
}

// TestLiesAreFound: the checker refuses disks that are wrong once in a hundred times.
func TestLiesAreFound(t *testing.T) {
	for _, lie := range []string{
		"a read returns what was there before", "a write is forgotten", "half of a sector is written", "zeroing does nothing",
	} {
		t.Run(lie, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, func(d sbc.Disk) sbc.Disk {
				return &liar{Disk: d, lie: lie, every: 100, old: map[int64][]byte{}}
			})
			l := newLoad()
			l.portal, l.target = g.portal, targetName
			seen, content := histories{}, map[int64]uint64{}
			var err error
			for range 20 { // chance may have let it tell the truth, or hide the lie under a write
				if err := l.round(t.Context(), clients, 400, content, seen); err != nil {
					t.Fatal(err)
				}
				if err = seen.check(l.now); err != nil {
					break
				}
			}
			if err == nil {
				t.Fatal("not found")
			}
			t.Logf("found: %.120v", err)
		})
	}
}
