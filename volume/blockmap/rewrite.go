package blockmap

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"sluice/object"
	"sluice/volume/segment"
)

// rewrite is the writing of a root that differs from another one, without a Map. Parts that do not change are referred to
// where they are.
type rewrite struct {
	store object.Store
	base  *index
	key   string

	buf   []byte   // the object that is being filled
	parts []string // objects written so far
	nodes []ref    // that changed; their key is the part, counted from 1, or 0: buf
}

// begin makes room for a node and its pages, which lie in one object.
func (w *rewrite) begin(ctx context.Context) error {
	if len(w.buf) < maxPartBytes {
		return nil
	}
	_, err := w.put(ctx)
	return err
}

// addPage adds a page to buf; its ref has length 0 if it is empty.
func (w *rewrite) addPage(num uint16, p *page) ref {
	r := ref{num: num, off: uint32(len(w.buf))}
	if p.n > 0 {
		w.buf = appendPage(w.buf, p)
		w.close(&r)
	}
	return r
}

// addNode adds a node with its changed pages, which are in buf.
func (w *rewrite) addNode(num uint16, old *index, changes []ref) {
	out := old.merge(uint64(num), changes, nil)
	at := ref{num: num, off: uint32(len(w.buf))}
	if len(out.refs) > 0 {
		w.buf = appendIndex(w.buf, out)
		w.close(&at)
	}
	w.nodes = append(w.nodes, at)
}

// close notes in r what was added to buf since its offset.
func (w *rewrite) close(r *ref) {
	b := w.buf[r.off:]
	r.length, r.crc = uint32(len(b)), checksum(b)
}

// finish writes the root.
func (w *rewrite) finish(ctx context.Context, pos segment.ID) (Root, error) {
	root := w.base.merge(uint64(pos), w.nodes, w.parts)
	r := ref{off: uint32(len(w.buf))}
	w.buf = appendIndex(w.buf, root)
	w.close(&r)
	name, err := w.put(ctx)
	if err != nil {
		return Root{}, err
	}
	return Root{Key: name, Offset: int64(r.off), Length: int64(r.length), CRC: r.crc, Position: pos}, nil
}

// put writes buf as an object and begins a new one.
func (w *rewrite) put(ctx context.Context) (name string, err error) {
	sum := sha256.Sum256(w.buf)
	name = w.key + "-" + hex.EncodeToString(sum[:8])
	if _, err := w.store.Put(ctx, name, w.buf); err != nil {
		return "", fmt.Errorf("writing %s: %w", name, err)
	}
	w.parts = append(w.parts, name)
	for i := range w.nodes {
		if w.nodes[i].key == 0 && w.nodes[i].length > 0 {
			w.nodes[i].key = uint16(len(w.parts))
		}
	}
	w.buf = nil
	return name, nil
}

// PageBlocks is the number of blocks in a page of the map: 2 MiB of the volume.
const PageBlocks = pageBlocks

// RootWriter writes the root of a map that differs from an older one in some pages, given in their order. It needs memory
// for a few MiB, whatever the size of the map. It is not for concurrent use.
type RootWriter struct {
	rewrite
	node    int // that is being changed; -1: none
	changes []ref
}

// NewRootWriter begins a root that differs from base, or from an empty map if that is nil. Keys are key, a dash and a hash, as those
// of Frozen.WriteRoot; the objects are garbage until somebody refers to the root.
func NewRootWriter(store object.Store, base *View, key string) *RootWriter {
	w := &RootWriter{rewrite: rewrite{store: store, base: noRoot().index, key: key}, node: -1}
	if base != nil {
		w.base = base.index
	}
	return w
}

// SetPage says what a page of PageBlocks blocks has; an entry without a name is of an unmapped block. Pages come in ascending order.
func (w *RootWriter) SetPage(ctx context.Context, no uint64, entries []segment.Entry) error {
	if no >= maxPages || len(entries) != pageBlocks {
		return fmt.Errorf("%w: map page %d of %d blocks", ErrRange, no, len(entries))
	}
	if num := int(no / nodePages); num != w.node {
		if err := w.endNode(ctx); err != nil {
			return fmt.Errorf("writing a map root: %w", err)
		}
		if err := w.begin(ctx); err != nil {
			return fmt.Errorf("writing a map root: %w", err)
		}
		w.node = num
	}
	p := &page{no: uint32(no), dense: new(densePage)}
	for i, e := range entries {
		if e.Name != 0 {
			p.dense.names[i], p.dense.crcs[i] = e.Name, e.CRC
			p.n++
		}
	}
	w.changes = append(w.changes, w.addPage(uint16(no%nodePages), p))
	return nil
}

func (w *RootWriter) endNode(ctx context.Context) error {
	if w.node < 0 {
		return nil
	}
	old := emptyNode
	if r, ok := w.base.find(w.node); ok {
		var err error
		if old, err = getNode(ctx, w.store, w.base, r); err != nil {
			return err
		}
	}
	w.addNode(uint16(w.node), old, w.changes)
	w.node, w.changes = -1, w.changes[:0]
	return nil
}

// Finish writes what is left, and the root, which is at position pos.
func (w *RootWriter) Finish(ctx context.Context, pos segment.ID) (Root, error) {
	err := w.endNode(ctx)
	var root Root
	if err == nil {
		root, err = w.finish(ctx, pos)
	}
	if err != nil {
		return Root{}, fmt.Errorf("writing a map root: %w", err)
	}
	return root, nil
}
