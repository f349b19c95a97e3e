package cache

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"sluice/volume/segment"
)

const mib = 1 << 20

func TestCopiesSurviveRestart(t *testing.T) {
	e := newEnv(t, 64*mib)
	e.create(1, true)
	e.create(2, false)
	e.store(3, 3)
	e.mustRead(3, 16, 32)
	before := e.c.Stats().Bytes
	e.close()
	e.open(64 * mib)
	gets := e.gets()
	e.mustRead(1, 0, testBlocks)
	e.mustRead(2, 0, testBlocks)
	e.mustRead(3, 16, 32)
	if e.gets() != gets {
		t.Errorf("%d requests for what was here", e.gets()-gets)
	}
	if got := e.c.Stats().Bytes; got != before {
		t.Errorf("%d bytes, before %d", got, before)
	}
	if got := e.c.Unsent(testVolume); !slices.Equal(got, []segment.ID{id(2)}) {
		t.Errorf("unsent: %v", got)
	}
	if got := e.c.Unsent([16]byte{}); len(got) != 0 {
		t.Errorf("unsent of another volume: %v", got)
	}
	if e.holds(3, 0, 1) {
		t.Error("a block is present that was never fetched")
	}
	e.check()
}

// What came after the last save of the index is fetched again, and nothing else is lost.
func TestKilled(t *testing.T) {
	e := newEnv(t, 64*mib)
	e.create(1, true)
	e.create(2, false)
	e.store(3, 4)
	e.mustRead(3, 0, 16)
	if err := e.c.save(); err != nil {
		t.Fatal(err)
	}
	e.mustRead(3, 16, 16)
	e.mustRead(4, 0, 16)
	e.kill()
	e.open(64 * mib)
	e.check()
	if !e.holds(1, 0, testBlocks) || !e.holds(2, 0, testBlocks) || !e.holds(3, 0, 16) || e.holds(3, 16, 1) || e.holds(4, 0, 1) {
		t.Error("not what the index knew is present")
	}
	for n := 1; n <= 4; n++ {
		e.mustRead(n, 0, testBlocks)
	}
	e.check()
}

// A smaller budget, or fewer files, at the next start.
func TestSmallerBudgetAfterRestart(t *testing.T) {
	e := newEnv(t, 64*mib)
	e.store(1, 20)
	for n := 1; n <= 20; n++ {
		e.mustRead(n, 0, testBlocks)
	}
	e.close()
	e.open(5 * testBytes)
	if st := e.c.Stats(); st.Segments != 5 || st.Bytes != 5*testBytes {
		t.Errorf("%+v", st)
	}
	e.check()
}

// What a crash may leave behind, and what the next Open makes of it.
func TestLeftovers(t *testing.T) {
	for _, tc := range []struct {
		name   string
		leave  func(t *testing.T, e *env, path string) // for segment 1, which is in the bucket
		unsent bool
		aside  bool
	}{
		{name: "empty file", leave: func(t *testing.T, e *env, path string) { put(t, path, nil) }},
		{name: "copy without a mark", leave: func(t *testing.T, e *env, path string) { put(t, path, make([]byte, mib)) }},
		{name: "used file with its old header", leave: func(t *testing.T, e *env, path string) { segmentFile(t, path, id(9)) }},
		{name: "never sent", unsent: true, leave: func(t *testing.T, e *env, path string) { segmentFile(t, path, id(1)) }},
		{name: "damaged header", aside: true, leave: func(t *testing.T, e *env, path string) {
			segmentFile(t, path, id(1))
			body, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			body[20] ^= 1
			put(t, path, body)
		}},
		{name: "mark without a file", leave: func(t *testing.T, e *env, path string) { mark(t, e, []byte{markFormat, 1}) }},
		{name: "unknown mark, copy", leave: func(t *testing.T, e *env, path string) {
			put(t, path, make([]byte, mib))
			mark(t, e, []byte{99, 1})
		}},
		{name: "short mark, copy", leave: func(t *testing.T, e *env, path string) {
			put(t, path, make([]byte, mib))
			mark(t, e, []byte{markFormat, 0, 255})
		}},
		{name: "unknown mark, whole", unsent: true, leave: func(t *testing.T, e *env, path string) {
			segmentFile(t, path, id(1))
			mark(t, e, []byte{99, 1})
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := newEnv(t, 64*mib)
			e.store(1, 1)
			path := e.c.path(id(1))
			e.close()
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			tc.leave(t, e, path)
			e.open(64 * mib)
			if got := len(e.c.Unsent(testVolume)) == 1; got != tc.unsent {
				t.Errorf("unsent: %v", got)
			}
			if _, err := os.Stat(filepath.Join(e.dir, "damaged", filepath.Base(path))); (err == nil) != tc.aside {
				t.Errorf("kept aside: %v", err)
			}
			e.check()
			e.mustRead(1, 0, testBlocks)
			e.check()
		})
	}
}

// A file of a later format may be the only copy of what a newer program wrote.
func TestLaterFormatIsRefused(t *testing.T) {
	e := newEnv(t, 64*mib)
	e.create(1, false)
	path := e.c.path(id(1))
	e.close()
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	later := slices.Clone(body)
	later[8]++
	resum(later)
	put(t, path, later)
	opts := e.c.opts
	if c, err := Open(opts); !errors.Is(err, segment.ErrVersion) || !strings.Contains(err.Error(), path) {
		t.Errorf("opened: %v, %v", c, err)
	}
	put(t, path, body)
	e.open(64 * mib)
	e.mustRead(1, 0, testBlocks)
}

// A mark that is ahead of the file, as after a loss of power: whoever reads sees it by the
// sums, and gets the blocks from the bucket.
func TestMarkAheadOfFile(t *testing.T) {
	e := newEnv(t, 64*mib)
	e.store(1, 1)
	e.mustRead(1, 0, testBlocks)
	path := e.c.path(id(1))
	e.close()
	put(t, path, make([]byte, segment.SlotOffset(20))) // the rest was lost
	e.open(64 * mib)
	if err := e.read(1, 0, 4); !errors.Is(err, errWrong) {
		t.Fatalf("zeros instead of blocks: %v", err)
	}
	if !e.c.Invalidate(id(1), 0, 4) {
		t.Fatal("a copy cannot be invalidated")
	}
	e.mustRead(1, 0, 16)
	e.mustRead(1, 32, 16)
	e.check()
}

func put(t *testing.T, path string, body []byte) {
	t.Helper()
	if err := os.WriteFile(path, body, 0o600); err != nil {
		t.Fatal(err)
	}
}

func segmentFile(t *testing.T, path string, id segment.ID) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := fill(f, id); err != nil {
		t.Fatal(err)
	}
}

func mark(t *testing.T, e *env, value []byte) {
	t.Helper()
	if err := e.db.Update(func(tx *badger.Txn) error { return tx.Set(markKey(id(1)), value) }); err != nil {
		t.Fatal(err)
	}
}

// resum repairs the CRC32C at the end of a header page.
func resum(file []byte) {
	crc := segment.Checksum(file[:segment.BlockSize-4])
	for i := range 4 {
		file[segment.BlockSize-4+i] = byte(crc >> (8 * i))
	}
}
