package segment

import "fmt"

// Blocks are blocks of a segment by slot; nil: it has none there. An object can be made of them: they read like a local segment file.
type Blocks [Slots][]byte

// ReadAt implements io.ReaderAt for whole blocks.
func (b *Blocks) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		slot := (off + int64(n) - SlotOffset(0)) / BlockSize
		if slot < 0 || slot >= Slots || b[slot] == nil {
			return n, fmt.Errorf("slot %d has no block", slot)
		}
		n += copy(p[n:], b[slot])
	}
	return n, nil
}
