package dir

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// stripes is how many locks the keys share.
const stripes = 256

// locks are the locks of keys, between goroutines and between processes.
type locks struct {
	root *os.Root
	// Goroutines of this process queue here, so that only one at a time contends for
	// the byte in the lock file, which cannot be waited for with a context.
	local [stripes]chan struct{}
}

func newLocks(root *os.Root) *locks {
	l := &locks{root: root}
	for i := range l.local {
		l.local[i] = make(chan struct{}, 1)
	}
	return l
}

func (l *locks) prepare() error {
	f, err := l.root.OpenFile(lockFile, os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return err
	}
	return f.Close()
}

// lock takes the lock that key shares with others. A process stopped while holding it
// makes the others wait until their contexts end.
func (l *locks) lock(ctx context.Context, key string) (unlock func(), err error) {
	h := fnv.New32a()
	_, _ = io.WriteString(h, key) // a hash cannot fail
	stripe := h.Sum32() % stripes
	select {
	case l.local[stripe] <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the key's lock: %w", ctx.Err())
	}
	f, err := l.lockByte(ctx, int64(stripe))
	if err != nil {
		<-l.local[stripe]
		return nil, fmt.Errorf("lock the key: %w", err)
	}
	return func() {
		_ = f.Close() // releases the lock
		<-l.local[stripe]
	}, nil
}

// lockByte locks one byte of the lock file, on an open file description of its own.
func (l *locks) lockByte(ctx context.Context, at int64) (*os.File, error) {
	f, err := l.root.OpenFile(lockFile, os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, err
	}
	wanted := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart, Start: at, Len: 1}
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &wanted)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(err, f.Close())
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), f.Close())
		}
	}
}
