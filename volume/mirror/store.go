package mirror

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"

	"sluice/volume/segment"
)

// Errors of Append.
var (
	// ErrFenced says that this gateway has taken the volume over.
	ErrFenced = errors.New("the volume was taken over by its peer")
	// ErrNoRoom says that the mirror has as many bytes as it may.
	ErrNoRoom = errors.New("the mirror is full")
)

// Store has the copies that other gateways keep here. Its methods may be called concurrently.
type Store struct {
	dir   string
	limit int64 // bytes, as the files' lengths say
	used  atomic.Int64

	mu    sync.Mutex // protects what follows
	locks map[uuid.UUID]*sync.Mutex
}

// OpenStore opens the mirror in a directory, which is made if it is missing. It holds up to limit bytes.
func OpenStore(dir string, limit int64) (*Store, error) {
	s := &Store{dir: dir, limit: limit, locks: map[uuid.UUID]*sync.Mutex{}}
	if err := makeDir(dir); err != nil {
		return nil, fmt.Errorf("opening the mirror: %w", err)
	}
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			s.used.Add(info.Size())
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("opening the mirror: %w", err)
	}
	return s, nil
}

// Usage returns how many bytes the copies have, and how many they may.
func (s *Store) Usage() (used, limit int64) { return s.used.Load(), s.limit }

// lock makes the caller the only one who works on the copies of a volume, until it calls unlock.
func (s *Store) lock(volume uuid.UUID) (unlock func()) {
	s.mu.Lock()
	l := s.locks[volume]
	if l == nil {
		l = new(sync.Mutex)
		s.locks[volume] = l
	}
	s.mu.Unlock()
	l.Lock()
	return l.Unlock
}

func (s *Store) volumeDir(volume uuid.UUID) string { return filepath.Join(s.dir, volume.String()) }

func (s *Store) epochDir(volume uuid.UUID, epoch uint64) string {
	return filepath.Join(s.volumeDir(volume), fmt.Sprintf("%016x", epoch))
}

func segmentFile(dir string, id segment.ID) string { return filepath.Join(dir, id.String()+".seg") }

// Append writes the ranges that body has to the copies of an attachment's segments, and drops the copies of those up to published. Whole
// says that with it there is a copy of all that is not in the bucket. When it returns nil all of that survives a loss of power.
func (s *Store) Append(volume uuid.UUID, epoch uint64, published segment.ID, whole bool, body io.Reader) error {
	defer s.lock(volume)()
	if err := s.admit(volume, epoch); err != nil {
		return err
	}
	dir := s.epochDir(volume, epoch)
	if err := makeDir(dir); err != nil {
		return fmt.Errorf("making room for a mirror: %w", err)
	}
	if err := s.write(dir, body); err != nil {
		return err
	}
	if whole {
		if err := s.settle(volume, epoch); err != nil {
			return err
		}
	}
	return s.drop(dir, published)
}

// admit refuses an attachment that is over.
func (s *Store) admit(volume uuid.UUID, epoch uint64) error {
	fence, err := s.fence(volume)
	if err != nil {
		return err
	}
	if epoch <= fence {
		return fmt.Errorf("%w, in epoch %d", ErrFenced, fence)
	}
	if current, _, err := s.current(volume); err != nil {
		return err
	} else if epoch < current {
		return fmt.Errorf("%w: there is a later attachment, of epoch %d", ErrFenced, current)
	}
	return nil
}

// write writes ranges to the files of a directory and syncs them.
func (s *Store) write(dir string, body io.Reader) (err error) {
	files := map[segment.ID]*os.File{}
	defer func() {
		for _, f := range files {
			err = errors.Join(err, f.Close())
		}
	}()
	var buf []byte
	for {
		r, room, rerr := readRange(body, buf)
		if errors.Is(rerr, io.EOF) {
			break
		}
		if rerr != nil {
			return rerr
		}
		buf = room
		f := files[r.Segment]
		if f == nil {
			if f, err = os.OpenFile(segmentFile(dir, r.Segment), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
				return fmt.Errorf("mirroring segment %s: %w", r.Segment, err)
			}
			files[r.Segment] = f
		}
		if err := s.grow(f, r.Offset+int64(len(r.Data))); err != nil {
			return err
		}
		if _, err := f.WriteAt(r.Data, r.Offset); err != nil {
			return fmt.Errorf("mirroring segment %s: %w", r.Segment, err)
		}
	}
	for id, f := range files {
		if err := f.Sync(); err != nil {
			return fmt.Errorf("mirroring segment %s: %w", id, err)
		}
	}
	return syncDir(dir)
}

// grow takes the room that a file needs to have a length.
func (s *Store) grow(f *os.File, length int64) error {
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("mirroring: %w", err)
	}
	more := max(0, length-info.Size())
	if used := s.used.Add(more); used > s.limit {
		s.used.Add(-more)
		return fmt.Errorf("%w: it has %d bytes and may have %d", ErrNoRoom, used-more, s.limit)
	}
	return nil
}

// settle makes an attachment the one that counts, and removes those before.
func (s *Store) settle(volume uuid.UUID, epoch uint64) error {
	dir := s.epochDir(volume, epoch)
	mark := filepath.Join(dir, "whole")
	if _, err := os.Stat(mark); err == nil {
		return nil
	}
	f, err := os.Create(mark)
	if err == nil {
		err = f.Close()
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("completing a mirror: %w", err)
	}
	epochs, err := s.epochs(volume)
	for _, e := range epochs {
		if e < epoch {
			err = errors.Join(err, s.remove(s.epochDir(volume, e)))
		}
	}
	return err
}

// drop removes the copies of segments up to published.
func (s *Store) drop(dir string, published segment.ID) error {
	ids, err := segments(dir)
	for _, id := range ids {
		if id <= published {
			err = errors.Join(err, s.remove(segmentFile(dir, id)))
		}
	}
	return err
}

func (s *Store) remove(path string) error {
	err := filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			s.used.Add(-info.Size())
		}
		return err
	})
	if err = errors.Join(err, os.RemoveAll(path)); err != nil {
		return fmt.Errorf("removing from the mirror: %w", err)
	}
	return nil
}

// Forget removes the copies of a volume. The fence stays.
func (s *Store) Forget(volume uuid.UUID) error {
	defer s.lock(volume)()
	epochs, err := s.epochs(volume)
	for _, e := range epochs {
		err = errors.Join(err, s.remove(s.epochDir(volume, e)))
	}
	return err
}

// Take fences off the owners of a volume up to an epoch, and calls use for each segment that the owner of that epoch mirrored
// here, the oldest first. What is here stays until Forget.
func (s *Store) Take(volume uuid.UUID, epoch uint64, use func(id segment.ID, f *os.File) error) error {
	ids, err := s.fenceOff(volume, epoch)
	if err != nil {
		return err
	}
	for _, id := range ids { // without the lock: behind the fence nothing changes
		f, err := os.Open(segmentFile(s.epochDir(volume, epoch), id))
		if err == nil {
			err = errors.Join(use(id, f), f.Close())
		}
		if err != nil {
			return fmt.Errorf("taking segment %s from the mirror: %w", id, err)
		}
	}
	return nil
}

// fenceOff refuses owners up to an epoch from now on, and returns the segments that the owner of that epoch mirrored here.
func (s *Store) fenceOff(volume uuid.UUID, epoch uint64) ([]segment.ID, error) {
	defer s.lock(volume)()
	if err := makeDir(s.volumeDir(volume)); err != nil { // also where nothing was mirrored: that may be on its way
		return nil, fmt.Errorf("fencing off the owner of a volume: %w", err)
	}
	if err := s.setFence(volume, epoch); err != nil {
		return nil, err
	}
	current, whole, err := s.current(volume)
	if err != nil || !whole || current != epoch {
		return nil, err
	}
	return segments(s.epochDir(volume, epoch))
}

// current returns the newest attachment that is whole.
func (s *Store) current(volume uuid.UUID) (epoch uint64, whole bool, err error) {
	epochs, err := s.epochs(volume)
	if err != nil {
		return 0, false, err
	}
	for _, e := range slices.Backward(epochs) {
		if _, err := os.Stat(filepath.Join(s.epochDir(volume, e), "whole")); err == nil {
			return e, true, nil
		}
	}
	return 0, false, nil
}

// epochs returns the attachments that have a directory, the oldest first.
func (s *Store) epochs(volume uuid.UUID) (epochs []uint64, err error) {
	entries, err := os.ReadDir(s.volumeDir(volume))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the mirror: %w", err)
	}
	for _, e := range entries {
		if epoch, err := strconv.ParseUint(e.Name(), 16, 64); err == nil && e.IsDir() {
			epochs = append(epochs, epoch)
		}
	}
	slices.Sort(epochs)
	return epochs, nil
}

// segments returns the segments that a directory has copies of, the oldest first.
func segments(dir string) (ids []segment.ID, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("reading the mirror: %w", err)
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".seg")
		if id, err := strconv.ParseUint(name, 16, 64); ok && err == nil {
			ids = append(ids, segment.ID(id))
		}
	}
	slices.Sort(ids)
	return ids, nil
}

func (s *Store) fencePath(volume uuid.UUID) string {
	return filepath.Join(s.volumeDir(volume), "fence")
}

// fence returns the epoch up to which owners are refused. A file that cannot be read refuses all.
func (s *Store) fence(volume uuid.UUID) (uint64, error) {
	body, err := os.ReadFile(s.fencePath(volume))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading the mirror: %w", err)
	}
	epoch, err := strconv.ParseUint(strings.TrimSpace(string(body)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("reading %s: %w", s.fencePath(volume), err)
	}
	return epoch, nil
}

func (s *Store) setFence(volume uuid.UUID, epoch uint64) error {
	before, err := s.fence(volume)
	if err != nil || before >= epoch {
		return err
	}
	path := s.fencePath(volume)
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err == nil {
		_, err = fmt.Fprintf(f, "%d\n", epoch)
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("fencing off the owner of a mirrored volume: %w", err)
	}
	return nil
}

// makeDir makes a directory, and those above it, so that they survive a loss of power.
func makeDir(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := makeDir(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(parent)
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
