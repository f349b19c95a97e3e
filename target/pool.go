package target

import (
	"math/bits"
	"sync"
	"unsafe"
)

// blockSize is the alignment of all data buffers in bytes: that of a page, so that a
// store may use them for direct I/O.
const blockSize = 4096

// Size classes are powers of two from 4 KiB to 16 MiB; a larger buffer is not pooled.
const (
	minClass = 12
	maxClass = 24
)

// buffer is a data buffer of a pool. Its owner is whoever holds the pointer.
type buffer struct {
	b     []byte // capacity: the size of the class
	class int
}

// bufferPool keeps aligned buffers in size classes. The zero value is ready for use; it
// is safe for concurrent use.
type bufferPool struct {
	classes [maxClass - minClass + 1]sync.Pool
}

// get returns a buffer whose b has length n and undefined content.
func (p *bufferPool) get(n int) *buffer {
	class := max(bits.Len(uint(max(n, 1)-1)), minClass)
	if class > maxClass {
		return &buffer{b: alignedBytes(n), class: class}
	}
	b, ok := p.classes[class-minClass].Get().(*buffer)
	if !ok {
		b = &buffer{b: alignedBytes(1 << class), class: class}
	}
	b.b = b.b[:n]
	return b
}

// put takes a buffer back; nothing may refer to its bytes any more.
func (p *bufferPool) put(b *buffer) {
	if b != nil && b.class <= maxClass {
		p.classes[b.class-minClass].Put(b)
	}
}

// alignedBytes allocates n bytes at a multiple of blockSize. The allocator aligns blocks
// of these sizes by itself; should that change, a little is wasted.
func alignedBytes(n int) []byte {
	b := make([]byte, n)
	if misaligned(b) == 0 {
		return b
	}
	b = make([]byte, n+blockSize)
	skip := (blockSize - misaligned(b)) % blockSize
	return b[skip : skip+n : skip+n]
}

func misaligned(b []byte) int {
	return int(uintptr(unsafe.Pointer(unsafe.SliceData(b))) % blockSize)
}
