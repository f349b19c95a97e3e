package crashfs

import (
	"context"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// node is a file or a directory. The names in a directory are kept by go-fuse.
type node struct {
	fs.Inode
	rec *Recorder
	id  ID
	dir bool

	content *content // of a file
	mtime   time.Time
}

var (
	_ fs.NodeCreater   = (*node)(nil)
	_ fs.NodeMkdirer   = (*node)(nil)
	_ fs.NodeUnlinker  = (*node)(nil)
	_ fs.NodeRmdirer   = (*node)(nil)
	_ fs.NodeRenamer   = (*node)(nil)
	_ fs.NodeFsyncer   = (*node)(nil)
	_ fs.NodeOpener    = (*node)(nil)
	_ fs.NodeReader    = (*node)(nil)
	_ fs.NodeWriter    = (*node)(nil)
	_ fs.NodeAllocater = (*node)(nil)
	_ fs.NodeGetattrer = (*node)(nil)
	_ fs.NodeSetattrer = (*node)(nil)
	_ fs.NodeStatfser  = (*node)(nil)
)

func (n *node) attr() fs.StableAttr {
	if n.dir {
		return fs.StableAttr{Mode: syscall.S_IFDIR, Ino: uint64(n.id)}
	}
	return fs.StableAttr{Mode: syscall.S_IFREG, Ino: uint64(n.id)}
}

// describe is called with the recorder's mu held.
func (n *node) describe(out *fuse.Attr) {
	out.Mode = 0o600
	if n.dir {
		out.Mode = 0o700
	} else {
		out.Size = uint64(n.content.size)
		out.Blocks = uint64(len(n.content.pages)) * (pageSize / 512)
	}
	out.SetTimes(&n.mtime, &n.mtime, &n.mtime)
}

func (n *node) make(ctx context.Context, name string, dir bool, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	r := n.rec
	r.mu.Lock()
	defer r.mu.Unlock()
	if errno := r.failure(Create); errno != 0 {
		return nil, errno
	}
	child := r.newNode(dir)
	r.add(Op{Kind: Create, Node: n.id, Name: name, Child: child.id, IsDir: dir})
	child.describe(&out.Attr)
	return n.NewPersistentInode(ctx, child, child.attr()), 0
}

// Create makes a file.
func (n *node) Create(ctx context.Context, name string, _, _ uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	inode, errno := n.make(ctx, name, false, out)
	return inode, nil, fuse.FOPEN_KEEP_CACHE, errno
}

// Mkdir makes a directory.
func (n *node) Mkdir(ctx context.Context, name string, _ uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return n.make(ctx, name, true, out)
}

func (n *node) child(name string) *node {
	c, _ := n.GetChild(name).Operations().(*node)
	return c // never nil but for the marks: the kernel has looked it up
}

// Unlink removes a name of a file.
func (n *node) Unlink(_ context.Context, name string) syscall.Errno {
	c := n.child(name)
	if c == nil {
		return syscall.EPERM
	}
	n.rec.mu.Lock()
	defer n.rec.mu.Unlock()
	n.rec.add(Op{Kind: Remove, Node: n.id, Name: name, Child: c.id})
	return 0
}

// Rmdir removes an empty directory.
func (n *node) Rmdir(ctx context.Context, name string) syscall.Errno {
	if c := n.child(name); c == nil || len(c.Children()) > 0 {
		return syscall.ENOTEMPTY
	}
	return n.Unlink(ctx, name)
}

// Rename moves a file or an empty directory's name; flags are refused.
func (n *node) Rename(_ context.Context, name string, to fs.InodeEmbedder, toName string, flags uint32) syscall.Errno {
	c, dir := n.child(name), to.(*node)
	if flags != 0 || c == nil {
		return syscall.EINVAL
	}
	n.rec.mu.Lock()
	defer n.rec.mu.Unlock()
	n.rec.add(Op{Kind: Rename, Node: n.id, Name: name, Child: c.id, To: dir.id, ToName: toName})
	return 0
}

// Fsync makes the file, or the names in the directory, durable; fdatasync does the same.
func (n *node) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	n.rec.mu.Lock()
	defer n.rec.mu.Unlock()
	if errno := n.rec.failure(Sync); errno != 0 {
		return errno
	}
	if n.dir {
		n.rec.add(Op{Kind: SyncDir, Node: n.id})
	} else {
		n.rec.add(Op{Kind: Sync, Node: n.id})
	}
	return 0
}

// Open keeps what the kernel has of the file, since nobody else changes it, but for failures to be met.
func (n *node) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	n.rec.mu.Lock()
	defer n.rec.mu.Unlock()
	if n.rec.fail != nil {
		return nil, 0, 0
	}
	return nil, fuse.FOPEN_KEEP_CACHE, 0
}

func (n *node) Read(_ context.Context, _ fs.FileHandle, p []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	n.rec.mu.Lock()
	defer n.rec.mu.Unlock()
	if errno := n.rec.failure(Read); errno != 0 {
		return nil, errno
	}
	return fuse.ReadResultData(p[:n.content.read(p, off)]), 0
}

func (n *node) Write(_ context.Context, _ fs.FileHandle, p []byte, off int64) (uint32, syscall.Errno) {
	n.rec.mu.Lock()
	defer n.rec.mu.Unlock()
	if errno := n.rec.failure(Write); errno != 0 {
		return 0, errno
	}
	n.rec.add(Op{Kind: Write, Node: n.id, Off: off, Data: append([]byte(nil), p...)})
	n.content.write(off, p)
	n.content.size = max(n.content.size, off+int64(len(p)))
	n.mtime = time.Now()
	return uint32(len(p)), 0
}

// Allocate makes the file as long as that; it has room for everything.
func (n *node) Allocate(_ context.Context, _ fs.FileHandle, off, size uint64, mode uint32) syscall.Errno {
	if mode != 0 {
		return syscall.EOPNOTSUPP
	}
	n.rec.mu.Lock()
	defer n.rec.mu.Unlock()
	if errno := n.rec.failure(Resize); errno != 0 {
		return errno
	}
	if end := int64(off + size); end > n.content.size {
		n.rec.add(Op{Kind: Resize, Node: n.id, Size: end})
		n.content.resize(end)
	}
	return 0
}

// Getattr describes the node.
func (n *node) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.rec.mu.Lock()
	defer n.rec.mu.Unlock()
	n.describe(&out.Attr)
	return 0
}

// Setattr truncates; other attributes are not kept.
func (n *node) Setattr(_ context.Context, _ fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	n.rec.mu.Lock()
	defer n.rec.mu.Unlock()
	if size, ok := in.GetSize(); ok && !n.dir {
		n.rec.add(Op{Kind: Resize, Node: n.id, Size: int64(size)})
		n.content.resize(int64(size))
		n.mtime = time.Now()
	}
	if t, ok := in.GetMTime(); ok {
		n.mtime = t
	}
	n.describe(&out.Attr)
	return 0
}

// Statfs says that there is room.
func (n *node) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	const blocks = 1 << 26
	*out = fuse.StatfsOut{Blocks: blocks, Bfree: blocks, Bavail: blocks, Files: blocks, Ffree: blocks, Bsize: pageSize, Frsize: pageSize, NameLen: 255}
	return 0
}
