package appliance

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"sluice/target/sbc"
	"sluice/volume"
)

// leasedVolume answers for a volume only while its lease is held: another gateway may serve it by then. I/O that comes when the lease has run out
// waits until it is renewed; what was done when it turns out that it had run out is not acknowledged.
type leasedVolume struct{ cachedVolume }

// leaseOf returns nil if the ownership of a volume does not end by itself.
func leaseOf(vol servedVolume) *volume.Lease {
	if l, ok := vol.(leasedVolume); ok {
		return l.Lease()
	}
	return nil
}

// leased tells whether the ownership of a disk's volume ends by itself, so that another gateway may go on for this one.
func leased(disk sbc.Disk) bool {
	_, ok := disk.(leasedVolume)
	return ok
}

// before lets I/O begin.
func (v leasedVolume) before(ctx context.Context, wait bool) error {
	if v.Lease().Held() {
		return nil
	}
	if !wait {
		return syscall.EAGAIN
	}
	return notReady(v.Lease().Wait(ctx))
}

// after lets I/O be acknowledged.
func (v leasedVolume) after(err error) error {
	if err == nil && !v.Lease().Held() {
		return fmt.Errorf("%w: the lease ran out meanwhile", sbc.ErrNotReady)
	}
	return notReady(err)
}

// notReady makes of the loss of a volume an error after which initiators try another path.
func notReady(err error) error {
	if errors.Is(err, volume.ErrLost) {
		return fmt.Errorf("%w: %w", sbc.ErrNotReady, err)
	}
	return err
}

// Read implements sbc.Disk.
func (v leasedVolume) Read(ctx context.Context, p []byte, off int64, wait bool) error {
	if err := v.before(ctx, wait); err != nil {
		return err
	}
	return v.after(v.cachedVolume.Read(ctx, p, off, wait))
}

// Write implements sbc.Disk.
func (v leasedVolume) Write(ctx context.Context, bufs [][]byte, offs []int64, wait bool) error {
	if err := v.before(ctx, wait); err != nil {
		return err
	}
	return v.after(v.cachedVolume.Write(ctx, bufs, offs, wait))
}

// Flush implements sbc.Disk.
func (v leasedVolume) Flush(ctx context.Context) error {
	if err := v.before(ctx, true); err != nil {
		return err
	}
	return v.after(v.cachedVolume.Flush(ctx))
}

// Zero implements sbc.Disk.
func (v leasedVolume) Zero(ctx context.Context, off, n int64, unmap bool) error {
	if err := v.before(ctx, true); err != nil {
		return err
	}
	return v.after(v.cachedVolume.Zero(ctx, off, n, unmap))
}

// Mapped implements sbc.Disk.
func (v leasedVolume) Mapped(ctx context.Context, off int64) (bool, int64, error) {
	if err := v.before(ctx, true); err != nil {
		return false, 0, err
	}
	mapped, n, err := v.cachedVolume.Mapped(ctx, off)
	return mapped, n, v.after(err)
}

// Copy implements sbc.Copier.
func (v leasedVolume) Copy(ctx context.Context, dst, src, n int64) error {
	if err := v.before(ctx, true); err != nil {
		return err
	}
	return v.after(v.cachedVolume.Copy(ctx, dst, src, n))
}

// standbyDisk is a volume that another gateway serves and this one stands by for. Its port answers nothing that is I/O.
type standbyDisk struct{ size int64 }

// Size implements sbc.Disk.
func (d standbyDisk) Size() int64 { return d.size }

// Read implements sbc.Disk.
func (standbyDisk) Read(context.Context, []byte, int64, bool) error { return sbc.ErrNotReady }

// Write implements sbc.Disk.
func (standbyDisk) Write(context.Context, [][]byte, []int64, bool) error { return sbc.ErrNotReady }

// Flush implements sbc.Disk.
func (standbyDisk) Flush(context.Context) error { return sbc.ErrNotReady }

// Zero implements sbc.Disk.
func (standbyDisk) Zero(context.Context, int64, int64, bool) error { return sbc.ErrNotReady }

// Mapped implements sbc.Disk.
func (standbyDisk) Mapped(context.Context, int64) (bool, int64, error) {
	return false, 0, sbc.ErrNotReady
}
