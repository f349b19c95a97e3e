package crashfs

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Recorder is the file system in use: it remembers everything, and writes the log.
type Recorder struct {
	start *Tree

	mu   sync.Mutex // protects what follows, and all nodes
	last ID
	log  []Op
	half []byte // of the next mark
	fail Failure
}

// Failure tells how an operation on a file fails; 0: it does not. Kind is Write, Sync, Resize, Create or Read.
type Failure func(kind Kind) syscall.Errno

// Fail makes operations fail from now on; nil makes an end of it. Files that are opened meanwhile are read from here, and
// not from what the kernel remembers. What failed is not in the log. f is called by one operation at a time.
func (r *Recorder) Fail(f Failure) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = f
}

// failure is called with mu held.
func (r *Recorder) failure(kind Kind) syscall.Errno {
	if r.fail == nil {
		return 0
	}
	return r.fail(kind)
}

// New returns a file system that begins with the content of t, all of it durable.
func New(t *Tree) *Recorder { return &Recorder{start: t, last: root} }

// Start returns the disk before the first operation of the log.
func (r *Recorder) Start() *Image { return NewImage(r.start) }

// Log returns what has happened so far. The operations must not be changed.
func (r *Recorder) Log() []Op {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clip(r.log)
}

// Mount makes the file system appear in dir, until unmount is called. It needs root.
func (r *Recorder) Mount(dir string) (unmount func() error, err error) {
	long := time.Hour // nobody else changes anything
	opts := &fs.Options{EntryTimeout: &long, AttrTimeout: &long}
	opts.MountOptions = fuse.MountOptions{
		FsName: "crashfs", DirectMountStrict: true, DisableXAttrs: true, MaxWrite: 1 << 20,
		ExplicitDataCacheControl: true, // the kernel never throws mapped pages away because a time stamp changed
	}
	top := &node{rec: r, id: root, dir: true, mtime: time.Now()}
	opts.OnAdd = func(ctx context.Context) { r.populate(ctx, top) }
	server, err := fs.Mount(dir, top, opts)
	if err != nil {
		return nil, fmt.Errorf("mounting a crashable file system: %w", err)
	}
	return server.Unmount, nil
}

// populate makes the nodes of the start, with the IDs that NewImage gives them.
func (r *Recorder) populate(ctx context.Context, top *node) {
	r.mu.Lock()
	defer r.mu.Unlock()
	byPath := map[string]*node{".": top}
	for _, path := range r.start.paths() {
		n := r.newNode(r.start.Files[path] == nil)
		if !n.dir {
			n.content = r.start.Files[path].clone()
		}
		dir, name := split(path)
		byPath[dir].AddChild(name, byPath[dir].NewPersistentInode(ctx, n, n.attr()), false)
		byPath[path] = n
	}
	marks := &marks{rec: r}
	top.AddChild(Marks, top.NewPersistentInode(ctx, marks, fs.StableAttr{Mode: syscall.S_IFREG}), false)
}

// newNode is called with mu held.
func (r *Recorder) newNode(dir bool) *node {
	r.last++
	n := &node{rec: r, id: r.last, dir: dir, mtime: time.Now()}
	if !dir {
		n.content = newContent()
	}
	return n
}

// add is called with mu held.
func (r *Recorder) add(op Op) { r.log = append(r.log, op) }

// Marks is the name of the file that takes marks.
const Marks = ".marks"

// Marker writes marks. It may be used concurrently.
type Marker struct {
	mu sync.Mutex
	f  *os.File
}

// NewMarker returns a marker for the file system that is mounted at dir.
func NewMarker(dir string) (*Marker, error) {
	f, err := os.OpenFile(dir+"/"+Marks, os.O_WRONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("opening the file of marks: %w", err)
	}
	return &Marker{f: f}, nil
}

// Mark writes p, in parts, as one mark. When it returns the mark is in the log.
func (m *Marker) Mark(p ...[]byte) error {
	var frame []byte
	for _, part := range p {
		frame = append(frame, part...)
	}
	frame = append(binary.LittleEndian.AppendUint32(nil, uint32(len(frame))), frame...)
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.f.Write(frame); err != nil {
		return fmt.Errorf("writing a mark: %w", err)
	}
	return nil
}

// marks is the file Marks.
type marks struct {
	fs.Inode
	rec *Recorder
}

func (m *marks) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_DIRECT_IO, 0
}

func (m *marks) Write(_ context.Context, _ fs.FileHandle, p []byte, _ int64) (uint32, syscall.Errno) {
	r := m.rec
	r.mu.Lock()
	defer r.mu.Unlock()
	r.half = append(r.half, p...)
	for len(r.half) >= 4 {
		n := int(binary.LittleEndian.Uint32(r.half))
		if len(r.half) < 4+n {
			break
		}
		r.add(Op{Kind: Mark, Data: append([]byte(nil), r.half[4:4+n]...)})
		r.half = r.half[4+n:]
	}
	return uint32(len(p)), 0
}
