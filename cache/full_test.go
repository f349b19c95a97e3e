package cache

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"sluice/volume/segment"
)

// TestDiskSmallerThanTheBudget: what is in the bucket gives way where the disk is full, whatever the budget says; what is not
// stays, and then a new segment is refused and a copy is not kept.
func TestDiskSmallerThanTheBudget(t *testing.T) {
	const files = 3 // for which there is room
	e := newEnv(t, 1<<40)
	e.close()
	size := fmt.Sprintf("size=%d", files*segment.FileSize+2<<20)
	if err := unix.Mount("tmpfs", e.dir, "tmpfs", 0, size); err != nil {
		t.Skipf("mounting a small file system, which takes root: %v", err)
	}
	e.open(1 << 40)
	// The file system goes before the directory and after the cache: cleanups run last in, first out.
	t.Cleanup(func() {
		e.close()
		if err := unix.Unmount(e.dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
		e.open(1 << 40)
	})
	for n := range 3 * files {
		e.create(n+1, true)
	}
	for n := range 3 * files {
		e.mustRead(n+1, 0, testBlocks)
	}
	for n := range files {
		e.create(100+n, false)
	}
	_, err := e.c.Create(id(200), testVolume, func(f *os.File) error { return fill(f, id(200)) })
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("creating a segment where all others are unsent: %v", err)
	}
	for n := range files {
		e.mustRead(100+n, 0, testBlocks)
	}
	e.check()
}
