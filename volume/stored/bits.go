package stored

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
	"math/bits"
	"os"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"
)

// A file of bits has a header of one page, then the bits in little endian words of 8 bytes:
//
//	 0  magic "SLBITS\0\1" (8)
//	 8  format version (1), zero (7)
//	16  volume (16)
//	32  CRC32C of the 32 bytes before (4)
const (
	bitsMagic   = "SLBITS\x00\x01"
	bitsVersion = 1
	bitsHeader  = 4096
)

var errBits = errors.New("not a file of bits of this volume")

// bitFile is a set of numbers, in memory and in a file. Its methods may be called concurrently.
type bitFile struct {
	f     *os.File
	mu    sync.Mutex // held while bits are changed
	words []atomic.Uint64
}

// openBits opens a file of n bits. With anew it makes one without any set where there is none, or an empty one.
func openBits(path string, vol uuid.UUID, n int64, anew bool) (*bitFile, error) {
	f, err := os.OpenFile(path, openFlags(anew), 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening a file of marks: %w", err)
	}
	b := &bitFile{f: f}
	if err := b.load(vol, n, anew); err != nil {
		return nil, errors.Join(fmt.Errorf("reading %s: %w", path, err), f.Close())
	}
	return b, nil
}

func bitsHead(vol uuid.UUID) []byte {
	h := append([]byte(bitsMagic), bitsVersion, 0, 0, 0, 0, 0, 0, 0)
	h = append(h, vol[:]...)
	return binary.LittleEndian.AppendUint32(h, crc32.Checksum(h, crc32.MakeTable(crc32.Castagnoli)))
}

func (b *bitFile) load(vol uuid.UUID, n int64, anew bool) error {
	info, err := b.f.Stat()
	if err != nil {
		return err
	}
	want := bitsHead(vol)
	if info.Size() == 0 && anew {
		if _, err := b.f.WriteAt(want, 0); err != nil {
			return err
		}
	} else {
		head := make([]byte, len(want))
		if _, err := b.f.ReadAt(head, 0); err != nil || string(head) != string(want) {
			return errors.Join(errBits, err)
		}
	}
	b.words = make([]atomic.Uint64, (n+63)/64)
	data := make([]byte, len(b.words)*8)
	have := max(0, min(info.Size()-bitsHeader, int64(len(data))))
	if _, err := b.f.ReadAt(data[:have], bitsHeader); err != nil {
		return err
	}
	for i := range b.words {
		b.words[i].Store(binary.LittleEndian.Uint64(data[i*8:]))
	}
	if err := b.resize(len(b.words)); err != nil {
		return err
	}
	// What was read may be in the page cache only, if who wrote it died before it was synced.
	return b.sync()
}

// resize makes room for words on disk, so that a full file system never keeps a mark from being made. What is added is zeros.
func (b *bitFile) resize(words int) error {
	n := bitsHeader + int64(words)*8
	if err := b.f.Truncate(n); err != nil {
		return err
	}
	err := unix.Fallocate(int(b.f.Fd()), 0, 0, n)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil // this file system cannot promise room
	}
	return err
}

// grow makes room for n bits. Nobody may look at the set meanwhile, but add to it.
func (b *bitFile) grow(n int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	words := make([]atomic.Uint64, (n+63)/64)
	for i := range min(len(b.words), len(words)) {
		words[i].Store(b.words[i].Load())
	}
	if err := b.resize(len(words)); err != nil {
		return fmt.Errorf("growing a file of marks: %w", err)
	}
	b.words = words
	return nil
}

func (b *bitFile) has(n int64) bool { return b.words[n/64].Load()>>(n%64)&1 == 1 }

// hasAll tells whether first to last are in the set.
func (b *bitFile) hasAll(first, last int64) bool {
	for n := first; n <= last; n++ {
		if !b.has(n) {
			return false
		}
	}
	return true
}

// add adds first to last, in the file first: who finds one in the set may rely on the file.
func (b *bitFile) add(first, last int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for n := first; n <= last; {
		end := min(last, n|63)
		mask := ^uint64(0) >> (63 - (end - n)) << (n % 64)
		old := b.words[n/64].Load()
		if old|mask != old {
			if err := b.write(n/64, old|mask); err != nil {
				return err
			}
		}
		n = end + 1
	}
	return nil
}

// write changes a word. The caller holds mu.
func (b *bitFile) write(i int64, word uint64) error {
	var p [8]byte
	binary.LittleEndian.PutUint64(p[:], word)
	if _, err := b.f.WriteAt(p[:], bitsHeader+i*8); err != nil {
		return fmt.Errorf("writing marks: %w", err)
	}
	b.words[i].Store(word)
	return nil
}

// keep removes what is not wanted, 64 numbers at once.
func (b *bitFile) keep(wanted func(i int64, word uint64) uint64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.words {
		old := b.words[i].Load()
		if next := old & wanted(int64(i), old); next != old {
			if err := b.write(int64(i), next); err != nil {
				return err
			}
		}
	}
	return nil
}

// clear empties the set.
func (b *bitFile) clear() error {
	return b.keep(func(int64, uint64) uint64 { return 0 })
}

// addAll adds what is in another set of the same size.
func (b *bitFile) addAll(other *bitFile) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range other.words {
		old := b.words[i].Load()
		if next := old | other.words[i].Load(); next != old {
			if err := b.write(int64(i), next); err != nil {
				return err
			}
		}
	}
	return nil
}

// count returns how many are in the set.
func (b *bitFile) count() (n int64) {
	for i := range b.words {
		n += int64(bits.OnesCount64(b.words[i].Load()))
	}
	return n
}

// all yields the numbers in the set in order.
func (b *bitFile) all() iter.Seq[int64] {
	return func(yield func(int64) bool) {
		for i := range b.words {
			for w := b.words[i].Load(); w != 0; w &= w - 1 {
				if !yield(int64(i)*64 + int64(bits.TrailingZeros64(w))) {
					return
				}
			}
		}
	}
}

func (b *bitFile) sync() error {
	if err := b.f.Sync(); err != nil {
		return fmt.Errorf("syncing marks: %w", err)
	}
	return nil
}

func (b *bitFile) close() error { return b.f.Close() }

// addSynced adds first to last when they are on disk: who finds one in the set may rely on that. The caller
// sees to it that there is one such call at a time.
func (b *bitFile) addSynced(first, last int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := map[int64]uint64{}
	for n := first; n <= last; n++ {
		i := n / 64
		if _, ok := next[i]; !ok {
			next[i] = b.words[i].Load()
		}
		next[i] |= 1 << (n % 64)
	}
	for i, word := range next {
		var p [8]byte
		binary.LittleEndian.PutUint64(p[:], word)
		if _, err := b.f.WriteAt(p[:], bitsHeader+i*8); err != nil {
			return fmt.Errorf("writing marks: %w", err)
		}
	}
	if err := b.sync(); err != nil {
		return err
	}
	for i, word := range next {
		b.words[i].Store(word)
	}
	return nil
}
