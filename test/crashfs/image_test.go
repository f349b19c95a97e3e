package crashfs

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// outcomes draws many crashes of a disk and returns what became of a file in each: "-" if it is not there.
func outcomes(m *Image, path string) map[string]bool {
	seen := map[string]bool{}
	for seed := range uint64(300) {
		t := m.Crash(rand.New(rand.NewPCG(seed, 0)))
		c := t.Files[path]
		if c == nil {
			seen["-"] = true
			continue
		}
		p := make([]byte, c.size)
		c.read(p, 0)
		seen[describe(p)] = true
	}
	return seen
}

// describe writes a file with one letter for each sector.
func describe(p []byte) string {
	var text []byte
	for len(p) > 0 {
		n := min(len(p), sector)
		letter := p[0]
		if letter == 0 {
			letter = '.'
		}
		text, p = append(text, letter), p[n:]
	}
	return string(text)
}

func sectors(text string) []byte {
	var p []byte
	for i := range len(text) {
		p = append(p, bytes.Repeat([]byte{text[i]}, sector)...)
	}
	return p
}

// TestWhatACrashMayLeave has a table of short stories: what may be seen after them, and what must not.
func TestWhatACrashMayLeave(t *testing.T) {
	create := Op{Kind: Create, Node: root, Name: "f", Child: 2}
	write := func(at int64, text string) Op { return Op{Kind: Write, Node: 2, Off: at * sector, Data: sectors(text)} }
	file, dir := Op{Kind: Sync, Node: 2}, Op{Kind: SyncDir, Node: root}
	for name, tc := range map[string]struct {
		ops       []Op
		path      string
		may, must []string // may: all of these are seen; must: one of these is what is seen
	}{
		"nothing synced":            {ops: []Op{create, write(0, "a")}, path: "f", may: []string{"-", "", "a", "."}},
		"a name without its sync":   {ops: []Op{create, write(0, "a"), file}, path: "f", may: []string{"-", "a"}, must: []string{"-", "a"}},
		"all synced":                {ops: []Op{create, write(0, "a"), file, dir}, path: "f", must: []string{"a"}},
		"an overwrite":              {ops: []Op{create, write(0, "a"), file, dir, write(0, "b")}, path: "f", may: []string{"a", "b"}, must: []string{"a", "b"}},
		"two writes, in any order":  {ops: []Op{create, write(0, "ab"), file, dir, write(0, "c"), write(1, "d")}, path: "f", may: []string{"ab", "cb", "ad", "cd"}, must: []string{"ab", "cb", "ad", "cd"}},
		"a torn write":              {ops: []Op{create, write(0, "ab"), file, dir, write(0, "cd")}, path: "f", may: []string{"ab", "cb", "ad", "cd"}},
		"a sector has no two pasts": {ops: []Op{create, write(0, "a"), file, dir, write(0, "b"), write(0, "c"), file}, path: "f", must: []string{"c"}},
		"a file that grows":         {ops: []Op{create, file, dir, write(0, "ab")}, path: "f", may: []string{"", "..", "ab", "a.", ".b"}},
		"a file that is cut":        {ops: []Op{create, write(0, "ab"), file, dir, {Kind: Resize, Node: 2, Size: sector}}, path: "f", may: []string{"ab", "a"}, must: []string{"ab", "a"}},
		"a rename":                  {ops: []Op{create, write(0, "a"), file, dir, {Kind: Rename, Node: root, Name: "f", Child: 2, To: root, ToName: "g"}}, path: "g", may: []string{"-", "a"}, must: []string{"-", "a"}},
		"a removal":                 {ops: []Op{create, write(0, "a"), file, dir, {Kind: Remove, Node: root, Name: "f", Child: 2}}, path: "f", may: []string{"-", "a"}},
		"a removal that is synced":  {ops: []Op{create, write(0, "a"), file, dir, {Kind: Remove, Node: root, Name: "f", Child: 2}, dir}, path: "f", must: []string{"-"}},
		"a directory without its parent": {ops: []Op{
			{Kind: Create, Node: root, Name: "d", Child: 3, IsDir: true}, {Kind: Create, Node: 3, Name: "f", Child: 2}, write(0, "a"), file, {Kind: SyncDir, Node: 3},
		}, path: "d/f", may: []string{"-", "a"}},
		"a rename between directories, one of them synced": {ops: []Op{
			{Kind: Create, Node: root, Name: "d", Child: 3, IsDir: true},
			create, write(0, "a"), file, dir,
			{Kind: Rename, Node: root, Name: "f", Child: 2, To: 3, ToName: "g"},
			{Kind: SyncDir, Node: 3},
		}, path: "f", must: []string{"-"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := NewImage(NewTree())
			for _, op := range tc.ops {
				m.Apply(op)
			}
			seen := outcomes(m, tc.path)
			for _, want := range tc.may {
				if !seen[want] {
					t.Errorf("never seen: %q", want)
				}
			}
			for got := range seen {
				ok := tc.must == nil
				for _, want := range tc.must {
					ok = ok || got == want
				}
				if !ok {
					t.Errorf("must not be: %q", got)
				}
			}
		})
	}
}

// One file never has two names, nor one name two files, whatever is lost.
func TestNamesStayWhole(t *testing.T) {
	m := NewImage(NewTree())
	m.Apply(Op{Kind: Create, Node: root, Name: "f", Child: 2})
	m.Apply(Op{Kind: Rename, Node: root, Name: "f", Child: 2, To: root, ToName: "g"})
	m.Apply(Op{Kind: Create, Node: root, Name: "f", Child: 3})
	m.Apply(Op{Kind: Rename, Node: root, Name: "f", Child: 3, To: root, ToName: "g"})
	m.Apply(Op{Kind: Rename, Node: root, Name: "g", Child: 3, To: root, ToName: "h"})
	for seed := range uint64(300) {
		c := *m
		c.dirs = map[ID]map[string]ID{root: {}}
		r := rand.New(rand.NewPCG(seed, 1))
		settle(c.dirs, m.pending, func(Op) bool { return r.IntN(2) == 0 })
		owners := map[ID]string{}
		for name, id := range c.dirs[root] {
			if other := owners[id]; other != "" {
				t.Fatalf("seed %d: file %d is %s and %s", seed, id, name, other)
			}
			owners[id] = name
		}
	}
}
