package blockmap

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sluice/volume/segment"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares b with a file; -update writes it.
func golden(t *testing.T, name string, b []byte) {
	t.Helper()
	path := filepath.Join("testdata", "golden", name)
	if *update {
		must(t, os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, b, 0o644))
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if !bytes.Equal(b, want) {
		t.Errorf("%s is encoded as\n%x\nnot, as before,\n%x", name, b, want)
	}
}

func content(p *page) blocks {
	b := blocks{}
	for i, e := range p.all() {
		b[uint64(i)] = e
	}
	return b
}

// samplePages are pages of every shape, with the size that each may have when encoded.
func samplePages() map[string]struct {
	page *page
	max  int
} {
	id := segment.NewID(7, 1000)
	empty := &page{no: 5}
	one := &page{no: 5}
	one.set(511, segment.NewName(id, 8191), []uint32{0xdeadbeef})
	runs := &page{no: 5}
	runs.set(0, segment.NewName(id, 0), crcsFor(1, 20))
	runs.set(100, segment.NewName(id, 20), crcsFor(2, 1))
	runs.set(101, segment.NewName(id-1, 3), crcsFor(3, 60))
	full := &page{no: 5}
	full.set(0, segment.NewName(id, 512), crcsFor(4, 512))
	random := &page{no: 5}
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 170 {
		random.set(i*3, segment.NewName(id-segment.ID(rnd.IntN(900)), rnd.Uint32N(2048)), crcsFor(i, 1))
	}
	return map[string]struct {
		page *page
		max  int
	}{
		"page-v1-empty":  {empty, 2},
		"page-v1-one":    {one, 20},
		"page-v1-runs":   {runs, 81*4 + 40},
		"page-v1-full":   {full, 2100},
		"page-v1-random": {random, 170*entryEstimate + pageEstimate},
	}
}

func TestPageGolden(t *testing.T) {
	for name, s := range samplePages() {
		b := appendPage(nil, s.page)
		golden(t, name, b)
		if len(b) > s.max {
			t.Errorf("%s takes %d bytes, more than %d", name, len(b), s.max)
		}
		p, err := decodePage(5, b)
		must(t, err)
		if diff := cmp.Diff(content(s.page), content(p)); diff != "" {
			t.Errorf("%s: decoded (-want +got):\n%s", name, diff)
		}
	}
}

// sampleIndex has neighbours and gaps, and refers to itself and to two older objects.
func sampleIndex(kind byte) *index {
	return &index{
		kind: kind, number: 17,
		keys: []string{"", "volumes/a/roots/1-00", "volumes/b/roots/2-11"},
		refs: []ref{
			{off: 0, length: 100, crc: 0x01020304, num: 0},
			{off: 100, length: 2100, crc: 5, num: 1},
			{off: 1 << 29, length: 7, crc: 6, num: 900, key: 2},
			{off: 3, length: 9, crc: 7, num: 4095, key: 1},
		},
	}
}

func TestIndexGolden(t *testing.T) {
	for _, kind := range []byte{kindNode, kindRoot} {
		x := sampleIndex(kind)
		b := appendIndex(nil, x)
		golden(t, fmt.Sprintf("index-v1-%c", kind), b)
		got, err := decodeIndex(kind, "self", b)
		must(t, err)
		x.keys[0] = "self"
		if diff := cmp.Diff(x, got, cmp.AllowUnexported(index{}, ref{})); diff != "" {
			t.Errorf("decoded (-want +got):\n%s", diff)
		}
	}
}

func TestMetaGolden(t *testing.T) {
	db := testDB(t)
	l := newLocal(db, [16]byte{1})
	x := sampleIndex(kindRoot)
	x.keys[0] = "volumes/c/roots/3-22"
	b := appendIndex(nil, x)
	want := &meta{position: 9, hasPosition: true, dirtyBytes: 1000, root: &rootTable{
		Root{Key: x.keys[0], Offset: 77, Length: int64(len(b)), CRC: checksum(b), Position: 17}, x,
	}}
	must(t, l.saveMeta(want))
	val, err := l.get(l.kind(kindMeta))
	must(t, err)
	golden(t, "meta-v1", val)
	got, err := l.loadMeta()
	must(t, err)
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(meta{}, rootTable{}, index{}, ref{})); diff != "" {
		t.Errorf("decoded (-want +got):\n%s", diff)
	}
}

// A page against the model, through every change of form.
func TestPageModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, want := &page{no: 1}, blocks{}
		check := func(p *page) {
			if diff := cmp.Diff(want, content(p)); diff != "" {
				t.Fatalf("(-want +got):\n%s", diff)
			}
			if int(p.n) != len(want) || (p.dense == nil && len(p.sparse) != len(want)*sparseEntry) {
				t.Fatalf("the page counts %d blocks, it has %d", p.n, len(want))
			}
		}
		for k := range rapid.IntRange(1, 60).Draw(t, "steps") {
			i := rapid.IntRange(0, pageBlocks-1).Draw(t, "index")
			n := rapid.OneOf(rapid.IntRange(1, 2), rapid.IntRange(1, pageBlocks)).Draw(t, "count")
			n = min(n, pageBlocks-i)
			if rapid.IntRange(0, 2).Draw(t, "op") == 0 {
				p.clear(i, n)
				want.clear(uint64(i), uint64(n))
			} else {
				name := segment.Name(rapid.Uint64Range(1, 1<<63).Draw(t, "name"))
				p.set(i, name, crcsFor(k, n))
				want.set(uint64(i), name, crcsFor(k, n))
			}
			check(p)
		}
		b := appendPage(nil, p)
		got, err := decodePage(1, b)
		must(t, err)
		check(got)
		if len(b) > maxPageBytes {
			t.Fatalf("an encoded page of %d bytes", len(b))
		}
	})
}

// Every strict prefix of a page or an index is an error, and so is a byte more.
func TestDecodeCut(t *testing.T) {
	node := appendIndex(nil, sampleIndex(kindNode))
	for n := range len(node) {
		if _, err := decodeIndex(kindNode, "self", node[:n]); err == nil {
			t.Errorf("an index cut to %d bytes was accepted", n)
		}
	}
	if _, err := decodeIndex(kindRoot, "self", node); err == nil {
		t.Error("a node was accepted as a root")
	}
	for name, s := range samplePages() {
		b := appendPage(nil, s.page)
		for n := range len(b) {
			if _, err := decodePage(5, b[:n]); err == nil {
				t.Errorf("%s cut to %d bytes was accepted", name, n)
			}
		}
		if _, err := decodePage(5, append(slices.Clone(b), 0)); err == nil {
			t.Errorf("%s with a byte too many was accepted", name)
		}
	}
}

// Whatever is accepted is encoded again as it was.
func FuzzPage(f *testing.F) {
	for _, s := range samplePages() {
		f.Add(appendPage(nil, s.page))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := decodePage(5, b)
		if err == nil && !bytes.Equal(appendPage(nil, p), b) {
			t.Errorf("accepted %x, which is not how the page is encoded", b)
		}
	})
}

func FuzzIndex(f *testing.F) {
	for _, kind := range []byte{kindNode, kindRoot} {
		f.Add(kind == kindRoot, appendIndex(nil, sampleIndex(kind)))
	}
	f.Fuzz(func(t *testing.T, root bool, b []byte) {
		kind := byte(kindNode)
		if root {
			kind = kindRoot
		}
		x, err := decodeIndex(kind, "self", b)
		if err == nil && !bytes.Equal(appendIndex(nil, x), b) {
			t.Errorf("accepted %x, which is not how the index is encoded", b)
		}
	})
}

func FuzzMeta(f *testing.F) {
	b, err := os.ReadFile(filepath.Join("testdata", "golden", "meta-v1"))
	must(f, err)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMeta(b)
		if err == nil && m.root != nil && m.root.Length == 0 {
			t.Errorf("accepted %x, with an empty root", b)
		}
	})
}
