package dir

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"time"

	"sluice/object"
)

// write stores body under key if allowed says so of the file it replaces (nil: none).
func (s *Store) write(ctx context.Context, key string, body []byte, allowed func(old fs.FileInfo) bool) (string, error) {
	if err := check(ctx, key); err != nil {
		return "", err
	}
	if len(body) > object.MaxBody {
		return "", fmt.Errorf("the body of %d bytes is larger than %d", len(body), object.MaxBody)
	}
	// The data is written and synced before the lock is taken, which is then short.
	temp, err := s.writeTemp(body)
	if err != nil {
		return "", fmt.Errorf("write: %w", err)
	}
	etag, err := s.publish(ctx, key, temp, allowed)
	if err != nil {
		// Gone if the rename was done.
		if rmErr := s.root.Remove(temp); rmErr != nil && !errors.Is(rmErr, fs.ErrNotExist) {
			err = errors.Join(err, rmErr)
		}
		return "", err
	}
	return etag, nil
}

// publish moves the file temp to its key.
func (s *Store) publish(ctx context.Context, key, temp string, allowed func(old fs.FileInfo) bool) (string, error) {
	unlock, err := s.locks.lock(ctx, key)
	if err != nil {
		return "", err
	}
	defer unlock()
	old, err := s.lookup(key)
	if err != nil {
		return "", err
	}
	if !allowed(old) {
		return "", object.ErrPrecondition
	}
	if err := s.makeDurable(path.Dir(key)); err != nil {
		return "", fmt.Errorf("make folders: %w", err)
	}
	fi, err := s.advance(temp, old)
	if err != nil {
		return "", err
	}
	if err := s.root.Rename(temp, key); err != nil {
		return "", err
	}
	if err := s.syncDir(path.Dir(key)); err != nil {
		return "", err
	}
	return etagOf(fi), nil
}

// advance gives temp a later modification time than old has, if it has not, so that
// their ETags differ whatever else is the same.
func (s *Store) advance(temp string, old fs.FileInfo) (fs.FileInfo, error) {
	fi, err := s.root.Lstat(temp)
	if err != nil || old == nil || fi.ModTime().After(old.ModTime()) {
		return fi, err
	}
	next := old.ModTime().Add(time.Nanosecond)
	f, err := s.root.OpenFile(temp, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	err = errors.Join(s.root.Chtimes(temp, next, next), f.Sync(), f.Close())
	if err != nil {
		return nil, fmt.Errorf("set modification time: %w", err)
	}
	return s.root.Lstat(temp)
}

// writeTemp writes and syncs a new file, and returns its path.
func (s *Store) writeTemp(body []byte) (string, error) {
	name := path.Join(tempDir, rand.Text())
	f, err := s.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return "", err
	}
	_, err = f.Write(body)
	if err == nil {
		// The kernel's own time may be as coarse as its tick.
		now := time.Now()
		err = s.root.Chtimes(name, now, now)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(err, s.root.Remove(name))
	}
	return name, nil
}

// makeDurable makes a folder and all those above it, and syncs their entries: also of
// those that exist, since whoever made them may have been stopped before the sync.
func (s *Store) makeDurable(dir string) error {
	s.mu.Lock()
	known := s.durable[dir]
	s.mu.Unlock()
	if known {
		return nil
	}
	parent := path.Dir(dir)
	if err := s.makeDurable(parent); err != nil {
		return err
	}
	if err := s.root.Mkdir(dir, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := s.syncDir(parent); err != nil {
		return err
	}
	s.mu.Lock()
	s.durable[dir] = true
	s.mu.Unlock()
	return nil
}

func (s *Store) syncDir(dir string) error {
	d, err := s.root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// removeStale removes the files that writers left behind before the given time.
func (s *Store) removeStale(before time.Time) error {
	entries, err := s.readDir(tempDir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		fi, err := e.Info()
		if err == nil && fi.ModTime().Before(before) {
			err = s.root.Remove(path.Join(tempDir, e.Name()))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // another process may clean up, too
			return err
		}
	}
	return nil
}

// checkTimes checks that the file system keeps modification times to the nanosecond.
func (s *Store) checkTimes() error {
	name, err := s.writeTemp(nil)
	if err != nil {
		return err
	}
	// Of now: another process must not take the file for a left-over.
	want := time.Now().Truncate(time.Second).Add(123_456_789)
	err = s.root.Chtimes(name, want, want)
	var got time.Time
	if err == nil {
		var fi fs.FileInfo
		if fi, err = s.root.Lstat(name); err == nil {
			got = fi.ModTime()
		}
	}
	if err = errors.Join(err, s.root.Remove(name)); err != nil {
		return err
	}
	if !got.Equal(want) {
		return errors.New("the file system does not keep modification times to the nanosecond, which conditional writes need; use ext4, xfs, btrfs, zfs or tmpfs")
	}
	return nil
}
