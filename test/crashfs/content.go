package crashfs

import (
	"fmt"
	"maps"
	"os"
	"slices"
)

const (
	pageSize = 4096
	// sector is what a disk writes as a whole or not at all, in bytes.
	sector = 512
)

// content is the bytes of a file. Pages that are not there are zeros.
type content struct {
	size  int64
	pages map[int64]*[pageSize]byte // never changed in place: clones share them
}

func newContent() *content { return &content{pages: map[int64]*[pageSize]byte{}} }

func (c *content) clone() *content { return &content{c.size, maps.Clone(c.pages)} }

// write changes bytes; it leaves the size to resize.
func (c *content) write(off int64, p []byte) {
	for len(p) > 0 {
		number, from := off/pageSize, off%pageSize
		page := [pageSize]byte{}
		if old := c.pages[number]; old != nil {
			page = *old
		}
		n := copy(page[from:], p)
		c.pages[number] = &page
		p, off = p[n:], off+int64(n)
	}
}

// resize cuts off, for good, what is behind size.
func (c *content) resize(size int64) {
	if size < c.size || size%pageSize != 0 {
		c.cut(size)
	}
	c.size = size
}

func (c *content) cut(size int64) {
	for number, page := range c.pages {
		switch start := number * pageSize; {
		case start >= size:
			delete(c.pages, number)
		case start+pageSize > size:
			short := *page
			clear(short[size-start:])
			c.pages[number] = &short
		}
	}
}

func (c *content) read(p []byte, off int64) int {
	if off >= c.size {
		return 0
	}
	p = p[:min(int64(len(p)), c.size-off)]
	for done := 0; done < len(p); {
		number, from := (off+int64(done))/pageSize, (off+int64(done))%pageSize
		n := min(len(p)-done, pageSize-int(from))
		if page := c.pages[number]; page != nil {
			copy(p[done:done+n], page[from:])
		} else {
			clear(p[done : done+n])
		}
		done += n
	}
	return len(p)
}

// save writes a file with holes for the pages that are not there.
func (c *content) save(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("saving a file of a crashed disk: %w", err)
	}
	err = f.Truncate(c.size)
	for _, number := range slices.Sorted(maps.Keys(c.pages)) {
		off := number * pageSize
		if err == nil && off < c.size {
			_, err = f.WriteAt(c.pages[number][:min(pageSize, c.size-off)], off)
		}
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("saving a file of a crashed disk: %w", err)
	}
	return nil
}
