package ownership

// collectorSteps are those of gc.Collector, on either gateway or a third: it asks nobody who owns what. The next pass begins when
// the deletions of the last one are done, or any time later.
func (m *model) collectorSteps(s *state, emit step) {
	t := *s
	c := &t.gc
	switch s.gc.step {
	case 0: // Collector.list
		if c.dueSeg|c.dueRoot != 0 {
			m.deleteSteps(s, emit)
			return
		}
		if s.can.pass == 0 {
			return
		}
		t.can.pass--
		c.segs, c.roots, c.step = s.segs, s.roots, 1
		emit("the collector lists the bucket", t)
	case 1: // Collector.mark: volume.Heads,
		c.before, c.clone, c.step = s.head, s.cloneHead(), 2
		emit("the collector reads the heads", t)
	case 2: // the snapshots,
		c.snapshot, c.step = s.snapshot, 3
		emit("the collector reads the snapshots", t)
	case 3: // volume.Heads again
		now, clone := s.head, s.cloneHead()
		if m.without.headsAgain {
			now, clone = c.before, c.clone
		}
		l := live{m: m, s: s, heads: [2]head{c.before, now}, roots: [5]uint8{c.before.root, now.root, c.snapshot, c.clone, clone}}
		var badSeg, badRoot ids
		for i := range uint8(maxID + 1) {
			if c.segs.has(i) && !l.needsSegment(id(i)) {
				badSeg.add(i)
			}
		}
		for i := range uint8(maxRoot + 1) {
			if c.roots.has(i) && !l.needsRoot(i) {
				badRoot.add(i)
			}
		}
		due := collector{badSeg: badSeg, badRoot: badRoot, dueSeg: badSeg & c.badSeg, dueRoot: badRoot & c.badRoot}
		if m.without.secondPass {
			due.dueSeg, due.dueRoot = badSeg, badRoot
		}
		if s.can.pass == 0 {
			due.badSeg, due.badRoot = 0, 0 // nobody asks any more
		}
		t.gc = due
		emit("the collector reads the heads again", t)
	}
}

// deleteSteps delete one object each: Collector.delete. Each may come at any time later.
func (m *model) deleteSteps(s *state, emit step) {
	for i := range uint8(maxID + 1) {
		if s.gc.dueSeg.has(i) {
			t := *s
			t.gc.dueSeg.drop(i)
			t.segs.drop(i)
			t.checkDeleted(1<<i, 0)
			emit("the collector deletes segment "+name(i), t)
		}
	}
	for i := range uint8(maxRoot + 1) {
		if s.gc.dueRoot.has(i) {
			t := *s
			t.gc.dueRoot.drop(i)
			t.roots.drop(i)
			t.checkDeleted(0, 1<<i)
			emit("the collector deletes the root of "+s.at[i].String(), t)
		}
	}
}

// live is gc's live: what is needed.
type live struct {
	m     *model
	s     *state
	heads [2]head
	roots [5]uint8
}

func (l *live) needsSegment(i id) bool {
	for _, root := range l.roots {
		if root != 0 && l.s.at[root] == i {
			return true
		}
	}
	for _, h := range l.heads { // live.replays
		for _, s := range h.spans[:h.n] {
			open := s.to == 0 && !l.m.without.unsealed
			if i.writer() == s.writer && i > l.s.at[h.root] && (open || i.seq() <= s.to) {
				return true
			}
		}
	}
	return false
}

func (l *live) needsRoot(i uint8) bool {
	for _, root := range l.roots {
		if root == i {
			return true
		}
	}
	newest := l.heads[1].root
	return !l.m.without.newRoots && (newest == 0 || i > newest) // live.maybeNewRoot
}

func (s *state) cloneHead() uint8 {
	if s.cloned >= 2 {
		return s.clone
	}
	return 0
}

// userSteps make a clone of the snapshot, as snapshots.restore and volumes.create do, and delete the snapshot.
func (m *model) userSteps(s *state, emit step) {
	t := *s
	switch s.cloned {
	case 0:
		if s.complete && s.can.clone > 0 {
			t.can.clone--
			t.clone, t.cloned = s.snapshot, 1
			emit("a clone is to be made", t)
		}
	case 1:
		t.cloned = 2
		emit("the clone's head is written", t)
	case 2:
		if s.snapshot == s.clone || m.without.cloneCheck {
			t.cloned = 3
			t.checkBucket()
			emit("the clone is there", t)
		} else {
			t.clone, t.cloned = 0, 0
			emit("the clone's snapshot is gone, and so is its head", t)
		}
	}
	if s.complete && s.cloned > 0 {
		t := *s
		t.snapshot, t.complete = 0, false
		emit("the snapshot is deleted", t)
	}
}
