package sbc

import "context"

// Located is implemented by errors of a Disk that know where it failed.
type Located interface {
	error
	// FailedAt returns the offset of the first byte that could not be read or written.
	FailedAt() int64
}

// Disk is the store behind a disk device server. Offsets and lengths are in bytes and
// multiples of 512. All methods may be called concurrently.
//
// With wait false, Read and Write never wait for the network, for a lock held across
// I/O, or for room in a buffer: where they would, they return an error that is
// syscall.EAGAIN (as with RWF_NOWAIT), having done nothing, and are called again with
// wait true from another goroutine.
type Disk interface {
	// Size returns the capacity in bytes. It may grow.
	Size() int64
	// Read fills p from offset off.
	Read(ctx context.Context, p []byte, off int64, wait bool) error
	// Write writes bufs[i] at offs[i] for every i, in one combined operation; overlapping
	// ones in that order. When it returns nil the data survives a crash of the process;
	// with an error any part may have been written.
	Write(ctx context.Context, bufs [][]byte, offs []int64, wait bool) error
	// Flush makes all completed writes survive a loss of power.
	Flush(ctx context.Context) error
	// Zero makes n bytes from off read as zeros; with unmap the range is also deallocated.
	Zero(ctx context.Context, off, n int64, unmap bool) error
	// Mapped tells whether the byte at off is allocated, and for how many bytes from off
	// on (at least 512, at most to the end of the disk) the same answer holds.
	Mapped(ctx context.Context, off int64) (mapped bool, n int64, err error)
}
