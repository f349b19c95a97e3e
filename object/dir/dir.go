package dir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sync"
	"syscall"
	"time"

	"sluice/object"
)

const (
	tempDir  = ".tmp"
	lockFile = ".lock"

	// staleAfter is when a file in tempDir is taken for a left-over. A writer that is
	// slower than this loses its file and gets an error.
	staleAfter = time.Hour

	dirMode  = 0o700
	fileMode = 0o600
)

// Store is an object.Store in a directory. Any number of processes may open one directory.
type Store struct {
	root  *os.Root
	locks *locks

	mu      sync.Mutex
	durable map[string]bool // folders whose entry in their parent we have synced
}

var _ object.Store = (*Store)(nil)

// Open opens the store in the directory path, which is made if it is missing.
func Open(path string) (*Store, error) {
	if err := os.MkdirAll(path, dirMode); err != nil {
		return nil, fmt.Errorf("open directory store: %w", err)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("open directory store: %w", err)
	}
	s := &Store{root: root, locks: newLocks(root), durable: map[string]bool{".": true}}
	if err := s.prepare(); err != nil {
		return nil, errors.Join(fmt.Errorf("open directory store %s: %w", path, err), root.Close())
	}
	return s, nil
}

// prepare makes the store's own files, and checks that the file system will do.
func (s *Store) prepare() error {
	if err := s.root.MkdirAll(tempDir, dirMode); err != nil {
		return err
	}
	if err := s.locks.prepare(); err != nil {
		return err
	}
	if err := s.syncDir("."); err != nil {
		return err
	}
	if err := s.removeStale(time.Now().Add(-staleAfter)); err != nil {
		return fmt.Errorf("remove left-overs: %w", err)
	}
	return s.checkTimes()
}

// Close releases the directory. The store must not be used any more.
func (s *Store) Close() error { return s.root.Close() }

// Put implements object.Store.
func (s *Store) Put(ctx context.Context, key string, body []byte) (string, error) {
	etag, err := s.write(ctx, key, body, func(fs.FileInfo) bool { return true })
	return etag, fail(object.OpPut, key, err)
}

// PutIf implements object.Store.
func (s *Store) PutIf(ctx context.Context, key string, body []byte, match string) (string, error) {
	etag, err := s.write(ctx, key, body, func(old fs.FileInfo) bool {
		if old == nil {
			return match == ""
		}
		return match == etagOf(old)
	})
	return etag, fail(object.OpPutIf, key, err)
}

// GetRange implements object.Store.
func (s *Store) GetRange(ctx context.Context, key string, off, n int64) ([]byte, string, error) {
	data, etag, err := s.read(ctx, key, off, n)
	return data, etag, fail(object.OpGetRange, key, err)
}

func (s *Store) read(ctx context.Context, key string, off, n int64) ([]byte, string, error) {
	if err := check(ctx, key); err != nil {
		return nil, "", err
	}
	if off < 0 {
		return nil, "", fmt.Errorf("negative offset %d", off)
	}
	f, err := s.root.Open(key)
	if err != nil {
		return nil, "", missing(err)
	}
	defer func() { _ = f.Close() }() // nothing was written
	fi, err := f.Stat()
	if err != nil {
		return nil, "", err
	}
	if !fi.Mode().IsRegular() {
		return nil, "", object.ErrNotFound
	}
	size := max(0, fi.Size()-off)
	if n >= 0 {
		size = min(size, n)
	}
	if size > object.MaxBody {
		return nil, "", fmt.Errorf("%d bytes at once are more than %d", size, object.MaxBody)
	}
	data := make([]byte, size)
	if _, err := f.ReadAt(data, off); err != nil {
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("the file has shrunk: %w", io.ErrUnexpectedEOF)
		}
		return nil, "", err
	}
	return data, etagOf(fi), nil
}

// Stat implements object.Store.
func (s *Store) Stat(ctx context.Context, key string) (object.Info, error) {
	if err := check(ctx, key); err != nil {
		return object.Info{}, fail(object.OpStat, key, err)
	}
	fi, err := s.lookup(key)
	if err == nil && fi == nil {
		err = object.ErrNotFound
	}
	if err != nil {
		return object.Info{}, fail(object.OpStat, key, err)
	}
	return infoOf(key, fi), nil
}

// Delete implements object.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	return fail(object.OpDelete, key, s.remove(ctx, key))
}

func (s *Store) remove(ctx context.Context, key string) error {
	if err := check(ctx, key); err != nil {
		return err
	}
	unlock, err := s.locks.lock(ctx, key)
	if err != nil {
		return err
	}
	defer unlock()
	old, err := s.lookup(key)
	if err != nil || old == nil {
		return err
	}
	if err := s.root.Remove(key); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return s.syncDir(path.Dir(key))
}

// lookup returns the file that holds key, or nil if there is none.
func (s *Store) lookup(key string) (fs.FileInfo, error) {
	fi, err := s.root.Lstat(key)
	if err != nil {
		if errors.Is(missing(err), object.ErrNotFound) {
			return nil, nil
		}
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, nil
	}
	return fi, nil
}

// missing turns the errors that mean "no such file" into ErrNotFound. ENOTDIR: another
// key is a path prefix of this one.
func missing(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return object.ErrNotFound
	}
	return err
}

func infoOf(key string, fi fs.FileInfo) object.Info {
	return object.Info{Key: key, Size: fi.Size(), ETag: etagOf(fi), ModTime: fi.ModTime()}
}

func etagOf(fi fs.FileInfo) string {
	var inode uint64
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		inode = st.Ino
	}
	return fmt.Sprintf("%x-%x-%x", fi.ModTime().UnixNano(), inode, fi.Size())
}

func check(ctx context.Context, key string) error {
	if err := object.CheckKey(key); err != nil {
		return err
	}
	return ctx.Err()
}

// fail wraps the error of an operation, and tells what may pass: a full disk gets room,
// a busy system gets free descriptors. Failing hardware does not mend itself.
func fail(op object.Op, key string, err error) error {
	if err == nil {
		return nil
	}
	e := &object.Error{Op: op, Key: key, Err: err}
	for _, passing := range []error{
		syscall.ENOSPC, syscall.EDQUOT, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM,
		syscall.EAGAIN, syscall.EINTR, syscall.ESTALE, syscall.ETIMEDOUT,
	} {
		e.Transient = e.Transient || errors.Is(err, passing)
	}
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		e.Err = fmt.Errorf("%w: %w", object.ErrRefused, err)
	}
	return e
}
