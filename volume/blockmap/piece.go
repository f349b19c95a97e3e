package blockmap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"sluice/object"
)

// getPiece reads a range of an object. An object that is missing or too short is ErrDamaged.
func getPiece(ctx context.Context, store object.Store, key string, off, n int64) ([]byte, error) {
	b, _, err := store.GetRange(ctx, key, off, n)
	if errors.Is(err, object.ErrNotFound) {
		return nil, fmt.Errorf("%w: %s is missing", ErrDamaged, key)
	}
	if err != nil {
		return nil, fmt.Errorf("fetching block map: %w", err)
	}
	if int64(len(b)) != n {
		return nil, fmt.Errorf("%w: %s ends before %d", ErrDamaged, key, off+n)
	}
	return b, nil
}

// getChecked reads a range of an object and compares its checksum.
func getChecked(ctx context.Context, store object.Store, key string, off, n int64, crc uint32) ([]byte, error) {
	b, err := getPiece(ctx, store, key, off, n)
	if err != nil {
		return nil, err
	}
	if checksum(b) != crc {
		return nil, fmt.Errorf("%w: %s at %d: checksum mismatch", ErrDamaged, key, off)
	}
	return b, nil
}

// getRoot reads and checks a root.
func getRoot(ctx context.Context, store object.Store, root Root) (*index, error) {
	if root.Offset < 0 || root.Length <= 0 || root.Length > maxIndex {
		return nil, fmt.Errorf("%w: %s: a root of %d bytes at %d is impossible", ErrDamaged, root.Key, root.Length, root.Offset)
	}
	b, err := getChecked(ctx, store, root.Key, root.Offset, root.Length, root.CRC)
	if err != nil {
		return nil, err
	}
	x, err := decodeIndex(kindRoot, root.Key, b)
	if err != nil {
		return nil, fmt.Errorf("%w: %s at %d: %w", ErrDamaged, root.Key, root.Offset, err)
	}
	return x, nil
}

// getNode reads and checks an index node that the root refers to.
func getNode(ctx context.Context, store object.Store, root *index, r ref) (*index, error) {
	key := root.keys[r.key]
	b, err := getChecked(ctx, store, key, int64(r.off), int64(r.length), r.crc)
	if err != nil {
		return nil, err
	}
	node, err := decodeNode(key, int(r.num), b)
	if err != nil {
		return nil, fmt.Errorf("%w: %s at %d: %w", ErrDamaged, key, r.off, err)
	}
	return node, nil
}

const (
	pieceGap   = 16 << 10 // bytes read for nothing rather than asking twice
	pieceBytes = 1 << 20  // bytes of one request
)

// loaded is a page, or why it is lost.
type loaded struct {
	num  uint16 // of the page in its node
	page *page
	err  error // ErrDamaged
}

// getPages reads pages of a node, those near each other in one object with one request. It returns them in
// the order of refs. Damage is an error of the page that it touches, any other failure one of the call.
func getPages(ctx context.Context, store object.Store, node *index, refs []ref) ([]loaded, error) {
	out := make([]loaded, len(refs))
	order := make([]int, len(refs))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int {
		return cmp.Or(cmp.Compare(refs[i].key, refs[j].key), cmp.Compare(refs[i].off, refs[j].off))
	})
	for len(order) > 0 {
		first, end := refs[order[0]], refs[order[0]].end()
		n := 1
		for n < len(order) {
			r := refs[order[n]]
			if r.key != first.key || r.off > end+pieceGap || r.end()-first.off > pieceBytes {
				break
			}
			end = max(end, r.end())
			n++
		}
		if err := getTogether(ctx, store, node, refs, order[:n], out); err != nil {
			return nil, err
		}
		order = order[n:]
	}
	return out, nil
}

// end is the first byte behind what the ref says.
func (r ref) end() uint32 { return r.off + r.length }

// getTogether reads the pages at the places order of refs with one request. If that finds damage, each is read
// alone, so that one page does not take others with it.
func getTogether(ctx context.Context, store object.Store, node *index, refs []ref, order []int, out []loaded) error {
	first, end := refs[order[0]], uint32(0)
	for _, i := range order {
		end = max(end, refs[i].end())
	}
	key := node.keys[first.key]
	b, err := getPiece(ctx, store, key, int64(first.off), int64(end-first.off))
	switch {
	case err == nil:
	case !errors.Is(err, ErrDamaged):
		return err
	case len(order) == 1:
		out[order[0]] = loaded{num: first.num, err: err}
		return nil
	default:
		for k := range order {
			if err := getTogether(ctx, store, node, refs, order[k:k+1], out); err != nil {
				return err
			}
		}
		return nil
	}
	for _, i := range order {
		r := refs[i]
		p, err := checkedPage(node, r, b[r.off-first.off:][:r.length])
		out[i] = loaded{num: r.num, page: p, err: err}
	}
	return nil
}

// checkedPage decodes a page of a node from the bucket.
func checkedPage(node *index, r ref, b []byte) (*page, error) {
	no, key := node.number*nodePages+uint64(r.num), node.keys[r.key]
	if checksum(b) != r.crc {
		return nil, fmt.Errorf("%w: %s at %d: map page %d: checksum mismatch", ErrDamaged, key, r.off, no)
	}
	p, err := decodePage(no, b)
	if err != nil {
		return nil, fmt.Errorf("%w: %s at %d: %w", ErrDamaged, key, r.off, err)
	}
	return p, nil
}
