package stored

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"

	"sluice/volume"
)

// Size returns the capacity in bytes.
func (v *Volume) Size() int64 { return v.size.Load() }

func (v *Volume) checkRange(off, n int64) error {
	if off < 0 || n < 0 || (off|n)%512 != 0 || off > v.size.Load() || n > v.size.Load()-off {
		return fmt.Errorf("range of %d bytes at %d is outside the volume or not in sectors of 512", n, off)
	}
	return v.check()
}

// Read fills p from offset off. With wait false it returns EAGAIN instead of going to the bucket.
func (v *Volume) Read(ctx context.Context, p []byte, off int64, wait bool) error {
	if err := v.checkRange(off, int64(len(p))); err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if err := v.arrive(ctx, off, int64(len(p)), wait); err != nil {
		return err
	}
	if _, err := v.data.ReadAt(p, off); err != nil {
		return &volume.ReadError{Offset: off, Err: fmt.Errorf("reading the data of the volume: %w", err)}
	}
	v.stats.readOps.Add(1)
	v.stats.readBytes.Add(int64(len(p)))
	return nil
}

// Write writes bufs[i] at offs[i] for every i, in that order. When it returns nil the data survives the death of the process; with an
// error any part may have been written. With wait false it returns EAGAIN, having done nothing, where it would have to
// wait for a lock, a sync or the bucket.
func (v *Volume) Write(ctx context.Context, bufs [][]byte, offs []int64, wait bool) error {
	if len(bufs) != len(offs) {
		return errors.New("write: as many offsets as buffers are needed")
	}
	total := int64(0)
	for i, b := range bufs {
		if err := v.checkRange(offs[i], int64(len(b))); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		total += int64(len(b))
	}
	if err := v.enter(wait); err != nil {
		return err
	}
	defer v.gate.RUnlock()
	for i, b := range bufs {
		if err := v.change(ctx, offs[i], int64(len(b)), wait); err != nil {
			return err
		}
	}
	for i, b := range bufs {
		if err := v.writeData(b, offs[i]); err != nil {
			return err
		}
	}
	v.sync.writes.Add(1)
	v.stats.writeOps.Add(1)
	v.stats.writeBytes.Add(total)
	return nil
}

// writeData writes to the data file. Where its file system is full, the room of a snapshot under way is given back first.
func (v *Volume) writeData(p []byte, off int64) error {
	_, err := v.data.WriteAt(p, off)
	if c := v.cut.Load(); c != nil && errors.Is(err, syscall.ENOSPC) {
		c.giveUp(err)
		_, err = v.data.WriteAt(p, off)
	}
	if err != nil {
		return fmt.Errorf("writing the data of the volume: %w", err)
	}
	return nil
}

// Zero makes n bytes from off read as zeros; their room is given back in any case.
func (v *Volume) Zero(ctx context.Context, off, n int64, _ bool) error {
	if err := v.checkRange(off, n); err != nil {
		return fmt.Errorf("zero: %w", err)
	}
	if n == 0 {
		return nil
	}
	if err := v.enter(true); err != nil {
		return err
	}
	defer v.gate.RUnlock()
	if err := v.change(ctx, off, n, true); err != nil {
		return err
	}
	if err := v.data.punch(off, n); err != nil {
		return fmt.Errorf("zeroing: %w", err)
	}
	v.sync.writes.Add(1)
	return nil
}

// enter takes the gate to be read.
func (v *Volume) enter(wait bool) error {
	if wait {
		v.gate.RLock()
	} else if !v.gate.TryRLock() {
		return syscall.EAGAIN
	}
	if err := v.check(); err != nil {
		v.gate.RUnlock()
		return err
	}
	return nil
}

// change prepares a range for being changed: its chunks are here, marked, and not needed any more as they were. The caller
// holds the gate.
func (v *Volume) change(ctx context.Context, off, n int64, wait bool) error {
	if n == 0 {
		return nil
	}
	if err := v.arrive(ctx, off, n, wait); err != nil {
		return err
	}
	first, last := off/ChunkSize, (off+n-1)/ChunkSize
	if !v.dirty.hasAll(first, last) {
		if err := v.intend(first/regionChunks, last/regionChunks, wait); err != nil {
			return err
		}
		if err := v.dirty.add(first, last); err != nil {
			return err
		}
	}
	if c := v.cut.Load(); c != nil {
		return c.spareAll(first, last, wait)
	}
	return nil
}

// intend notes, durably, that chunks of regions change.
func (v *Volume) intend(first, last int64, wait bool) error {
	if v.intents.hasAll(first, last) {
		return nil
	}
	if !wait {
		return syscall.EAGAIN
	}
	// The bit counts for others from add on, so they must not see it before it is synced.
	v.sync.intent.Lock()
	defer v.sync.intent.Unlock()
	if v.intents.hasAll(first, last) {
		return nil
	}
	if err := v.intents.addSynced(first, last); err != nil {
		v.fail(err)
		return err
	}
	return nil
}

// Mapped tells whether the byte at off is allocated, and for how many bytes from off on the same holds.
func (v *Volume) Mapped(_ context.Context, off int64) (mapped bool, n int64, err error) {
	if err := v.checkRange(off, 512); err != nil {
		return false, 0, fmt.Errorf("mapped: %w", err)
	}
	end := v.size.Load()
	if !v.filled.Load() {
		chunk := off / ChunkSize
		end = min(end, (chunk+1)*ChunkSize)
		if !v.present.has(chunk) { // what it has is in the bucket
			return true, end - off, nil
		}
	}
	return v.data.mapped(off, end)
}

// syncState lets flushes that arrive together share one sync.
type syncState struct {
	writes atomic.Uint64 // completed
	intent sync.Mutex    // held while intents are synced

	mu     sync.Mutex
	synced uint64        // writes that survive a loss of power
	busy   chan struct{} // closed when the running sync ends; nil if none runs
}

// Flush returns when all writes that were completed before it was called survive a loss of power. When a sync fails the volume
// stops: the kernel may have dropped the data, and a second sync would report success.
func (v *Volume) Flush(ctx context.Context) error {
	v.stats.flushes.Add(1)
	s := &v.sync
	want := s.writes.Load()
	for {
		if err := v.check(); err != nil {
			return err
		}
		s.mu.Lock()
		if s.synced >= want {
			s.mu.Unlock()
			return nil
		}
		if busy := s.busy; busy != nil {
			s.mu.Unlock()
			select {
			case <-busy:
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		busy := make(chan struct{})
		s.busy = busy
		s.mu.Unlock()

		upTo := s.writes.Load()
		err := v.syncData()
		s.mu.Lock()
		if err == nil {
			s.synced = upTo
		}
		s.busy = nil
		s.mu.Unlock()
		close(busy)
		if err != nil {
			v.fail(err)
			return err
		}
	}
}

func (v *Volume) syncData() error {
	if v.filled.Load() {
		if err := datasync(v.data.File); err != nil {
			return fmt.Errorf("syncing the data of the volume: %w", err)
		}
		return nil
	}
	return v.present.sync()
}

// Resize grows the volume to size bytes.
func (v *Volume) Resize(ctx context.Context, size int64) error {
	if size%ChunkSize != 0 || size < v.Size() {
		return fmt.Errorf("resizing to %d bytes: a volume only grows, by whole chunks of %d", size, ChunkSize)
	}
	claim, err := v.claimNow(ctx)
	if err != nil {
		return fmt.Errorf("resizing: %w", err)
	}
	select { // the sets of a cut have its size
	case v.cutting <- struct{}{}:
		defer func() { <-v.cutting }()
	case <-ctx.Done():
		return fmt.Errorf("waiting for the snapshot under way: %w", ctx.Err())
	}
	if err := v.growLocal(size); err != nil {
		return fmt.Errorf("resizing: %w", err)
	}
	if err := claim.Update(ctx, func(h *volume.Head) { h.Size = size }); err != nil {
		return fmt.Errorf("resizing: %w", err)
	}
	v.size.Store(size)
	return nil
}

// growLocal makes room for size bytes. What it added is not used before the head says so.
func (v *Volume) growLocal(size int64) error {
	v.gate.Lock()
	defer v.gate.Unlock()
	n, err := v.data.length()
	if err == nil && n < size {
		if v.data.device {
			return fmt.Errorf("%s has only %d bytes", v.data.Name(), n)
		}
		err = errors.Join(v.data.Truncate(size), v.data.Sync())
	}
	chunks := size / ChunkSize
	for _, b := range []*bitFile{v.dirty, v.spare} {
		if err == nil {
			err = b.grow(chunks)
		}
	}
	if err == nil {
		err = v.intents.grow((chunks + regionChunks - 1) / regionChunks)
	}
	if err == nil && v.present != nil {
		err = v.present.grow(v.chunks(), chunks)
	}
	return err
}

// Stats returns a snapshot of the volume's state.
func (v *Volume) Stats() volume.Stats {
	st := volume.Stats{
		ID: v.id, Name: v.name, Size: v.size.Load(),
		ReadBytes: v.stats.readBytes.Load(), WriteBytes: v.stats.writeBytes.Load(),
		ReadOps: v.stats.readOps.Load(), WriteOps: v.stats.writeOps.Load(), Flushes: v.stats.flushes.Load(),
		UploadedBytes: v.stats.uploadedBytes.Load(), UploadedSegments: v.stats.uploadedSegments.Load(), Roots: v.stats.roots.Load(),
	}
	v.stateMu.Lock()
	st.Epoch = v.state.Epoch
	st.Path = v.data.Name()
	v.stateMu.Unlock()
	v.gate.RLock()
	st.Changed = v.dirty.count() * ChunkSize
	v.gate.RUnlock()
	if !v.filled.Load() {
		st.Missing = v.present.missing() * ChunkSize
	}
	if v.claimOrNil() == nil {
		st.UploadError = "the bucket was not reached since the start"
	} else if c := v.cut.Load(); c != nil {
		st.UploadError = c.trouble()
	}
	if err := v.failed.Load(); err != nil {
		st.Error = (*err).Error()
	}
	return st
}
