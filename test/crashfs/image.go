package crashfs

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// ID names a file or a directory for ever, whatever it is called.
type ID uint64

const root ID = 1

// Kind says what an operation is.
type Kind int

// The kinds of operations.
const (
	Write   Kind = iota // of Data at Off into Node
	Resize              // of Node to Size
	Sync                // of the file Node
	Create              // of Child, a directory if IsDir, as Name in Node
	Remove              // of Name, which was Child, from Node
	Rename              // of Child, which was Name in Node, to ToName in To
	SyncDir             // of the directory Node
	Mark                // Data is what was written
	Read                // never in the log, but may be made to fail
)

// Op is one operation, as it is in the log.
type Op struct {
	Kind   Kind
	Node   ID
	Name   string
	Child  ID
	IsDir  bool
	To     ID
	ToName string
	Off    int64
	Size   int64
	Data   []byte
}

// Image is a disk: what is durable, and what is not yet.
type Image struct {
	files   map[ID]*file
	dirs    map[ID]map[string]ID // durable names
	pending []Op                 // on directories
}

type file struct {
	size    int64 // with all that is pending
	durable *content
	pending []Op
}

// NewImage returns a disk with the given content, all of it durable. The IDs depend on the content only.
func NewImage(t *Tree) *Image {
	m := &Image{files: map[ID]*file{}, dirs: map[ID]map[string]ID{root: {}}}
	byPath := map[string]ID{".": root}
	next := root
	for _, path := range t.paths() {
		next++
		dir, name := split(path)
		m.dirs[byPath[dir]][name] = next
		byPath[path] = next
		if c := t.Files[path]; c != nil {
			m.files[next] = &file{size: c.size, durable: c.clone()}
		} else {
			m.dirs[next] = map[string]ID{}
		}
	}
	return m
}

// Apply brings the disk on by one operation.
func (m *Image) Apply(op Op) {
	switch op.Kind {
	case Write:
		f := m.files[op.Node]
		if end := op.Off + int64(len(op.Data)); end > f.size {
			f.resize(op.Node, end)
		}
		f.pending = append(f.pending, op)
	case Resize:
		m.files[op.Node].resize(op.Node, op.Size)
	case Sync:
		f := m.files[op.Node]
		f.durable, f.pending = f.after(func(Op) []byte { return nil }, len(f.pending)), nil
	case Create:
		if op.IsDir {
			m.dirs[op.Child] = map[string]ID{}
		} else {
			m.files[op.Child] = &file{durable: newContent()}
		}
		m.pending = append(m.pending, op)
	case Remove, Rename:
		m.pending = append(m.pending, op)
	case SyncDir:
		m.pending = settle(m.dirs, m.pending, func(p Op) bool { return p.Node == op.Node || (p.Kind == Rename && p.To == op.Node) })
	case Mark, Read:
	}
}

func (f *file) resize(id ID, size int64) {
	f.size = size
	f.pending = append(f.pending, Op{Kind: Resize, Node: id, Size: size})
}

// settle applies to dirs those operations that are chosen, and those that came before them with the same file or name.
// It returns the others.
func settle(dirs map[ID]map[string]ID, ops []Op, choose func(Op) bool) (rest []Op) {
	chosen := make([]bool, len(ops))
	for i := range slices.Backward(ops) {
		chosen[i] = chosen[i] || choose(ops[i])
		for k := range ops[:i] {
			chosen[k] = chosen[k] || (chosen[i] && related(ops[k], ops[i]))
		}
	}
	for i, op := range ops {
		if !chosen[i] {
			rest = append(rest, op)
			continue
		}
		if dirs[op.Node][op.Name] == op.Child && op.Kind != Create {
			delete(dirs[op.Node], op.Name)
		}
		switch op.Kind {
		case Create:
			dirs[op.Node][op.Name] = op.Child
		case Rename:
			dirs[op.To][op.ToName] = op.Child
		default: // no new name
		}
	}
	return rest
}

func related(a, b Op) bool {
	type name struct {
		dir  ID
		name string
	}
	if a.Child == b.Child {
		return true
	}
	names := []name{{a.Node, a.Name}}
	if a.Kind == Rename {
		names = append(names, name{a.To, a.ToName})
	}
	return slices.Contains(names, name{b.Node, b.Name}) || (b.Kind == Rename && slices.Contains(names, name{b.To, b.ToName}))
}

// after returns the content once the writes that keep wants, nil for all of it, and the first sizes of the changes of
// size have reached the disk.
func (f *file) after(torn func(Op) []byte, sizes int) *content {
	c := f.durable.clone()
	size := c.size
	for _, op := range f.pending {
		switch {
		case op.Kind == Resize && sizes > 0:
			sizes--
			if op.Size < size {
				c.cut(op.Size)
			}
			size = op.Size
		case op.Kind == Write:
			keep := torn(op)
			if keep == nil {
				c.write(op.Off, op.Data)
				continue
			}
			for i, off := 0, op.Off; off < op.Off+int64(len(op.Data)); i++ {
				end := min((off/sector+1)*sector, op.Off+int64(len(op.Data)))
				if keep[i%len(keep)] != 0 {
					c.write(off, op.Data[off-op.Off:end-op.Off])
				}
				off = end
			}
		}
	}
	c.cut(size)
	c.size = size
	return c
}

// Crash returns what a loss of power now may leave on the disk. Each call draws another outcome; now and then it is the
// least or the most that is possible.
func (m *Image) Crash(r *rand.Rand) *Tree {
	dirs := map[ID]map[string]ID{}
	for id, names := range m.dirs {
		dirs[id] = maps.Clone(names)
	}
	share := shareKept(r)
	settle(dirs, m.pending, func(Op) bool { return r.Float64() < share })
	t := NewTree()
	m.walk(t, dirs, root, "", share, r)
	return t
}

// shareKept returns which share of what is not durable survives a crash: none, all, or something between.
func shareKept(r *rand.Rand) float64 {
	switch r.IntN(6) {
	case 0:
		return 0
	case 1:
		return 1
	case 2:
		return 0.9
	default:
		return r.Float64()
	}
}

func (m *Image) walk(t *Tree, dirs map[ID]map[string]ID, id ID, prefix string, share float64, r *rand.Rand) {
	for _, name := range slices.Sorted(maps.Keys(dirs[id])) { // in order: one seed, one outcome
		child := dirs[id][name]
		if f := m.files[child]; f != nil {
			t.Files[prefix+name] = f.crash(share, r)
			continue
		}
		t.Dirs = append(t.Dirs, prefix+name)
		m.walk(t, dirs, child, prefix+name+"/", share, r)
	}
}

func (f *file) crash(share float64, r *rand.Rand) *content {
	if len(f.pending) == 0 {
		return f.durable
	}
	if r.IntN(3) == 0 { // files of one disk fare differently
		share = shareKept(r)
	}
	torn := func(op Op) []byte {
		if r.Float64() >= share {
			return []byte{0}
		}
		if share == 1 || r.IntN(4) > 0 {
			return nil
		}
		keep := make([]byte, len(op.Data)/sector+2)
		for i := range keep {
			keep[i] = byte(r.IntN(2))
		}
		return keep
	}
	changes := 0
	for _, op := range f.pending {
		if op.Kind == Resize {
			changes++
		}
	}
	switch share {
	case 0:
		changes = 0
	case 1:
	default:
		changes = r.IntN(changes + 1)
	}
	return f.after(torn, changes)
}
