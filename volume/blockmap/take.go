package blockmap

import "fmt"

// take appends a page to dst, encoded, as it was when the state was frozen, and says how
// many blocks are mapped in it. From then on the page is no longer kept.
func (f *Frozen) take(dst []byte, no uint64) ([]byte, uint16, error) {
	s := f.m.shard(no)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.frozen != f {
		return dst, 0, ErrSuperseded
	}
	if s.needed(no) && s.peek(no) == nil {
		// It was not changed since, and is in badger, or in no place if it is empty.
		// If it is changed while it is read without the lock, there will be a copy.
		s.mu.Unlock()
		p, err := f.m.loadLocal(no)
		s.mu.Lock()
		switch {
		case err != nil:
			return dst, 0, err
		case s.frozen != f:
			return dst, 0, ErrSuperseded
		case s.needed(no):
			s.kept[no/64] |= bit(no)
			if p == nil {
				return dst, 0, nil
			}
			return appendPage(dst, p), p.n, nil
		}
	}
	if s.needed(no) {
		s.kept[no/64] |= bit(no)
		p := s.peek(no)
		return appendPage(dst, p), p.n, nil
	}
	return f.takeCopy(s, dst, no)
}

// takeCopy takes the copy that was made when the page was changed.
func (f *Frozen) takeCopy(s *shard, dst []byte, no uint64) ([]byte, uint16, error) {
	c, ok := s.copies[no]
	if !ok {
		return dst, 0, fmt.Errorf("map page %d was taken before", no)
	}
	delete(s.copies, no)
	var err error
	if len(c) > 0 {
		f.m.copies.Add(-int64(len(c)))
		c, err = unseal(c)
	} else {
		c, err = f.m.local.get(f.m.local.key(kindCopy, uint32(no)))
	}
	if err != nil {
		return dst, 0, err
	}
	p, err := decodePage(no, c)
	if err != nil {
		return dst, 0, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return append(dst, c...), p.n, nil
}
