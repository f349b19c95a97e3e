package ownership

import "slices"

// step is what one step leads to.
type step func(name string, next state)

// gatewaySteps are all steps that gateway i could make next.
func (m *model) gatewaySteps(s *state, i int, emit step) {
	g := &s.gw[i]
	switch g.at {
	case down:
		t := *s
		t.gw[i].at = up
		emit("starts", t)
	case up:
		m.attachSteps(s, i, emit)
	case claimed:
		m.take(s, i, emit)
	case taken:
		m.replay(s, i, emit)
	case recovered:
		// nextWriter reads writers.json,
		t := *s
		t.gw[i].count, t.gw[i].at = s.writers, counted
		emit("reads writers.json", t)
	case counted:
		// and writes it by compare-and-swap.
		t := *s
		n := &t.gw[i]
		if s.writers == n.count {
			if t.writers++; m.without.counter {
				t.writers = 1
				if last := n.view.n; last > 0 {
					t.writers = n.view.spans[last-1].writer + 1
				}
			}
			n.writer, n.at = t.writers, numbered
			emit("takes a writer number", t)
		} else {
			n.at = recovered
			emit("finds writers.json changed", t)
		}
		n.count = 0
	case numbered:
		m.begin(s, i, emit)
	case serving, failed:
		m.serve(s, i, emit)
	case doubt:
		m.settle(s, i, emit)
	}
	m.network(s, i, emit)
	m.crash(s, i, emit)
}

// attachSteps reads the head: volume.NewClaim.
func (m *model) attachSteps(s *state, i int, emit step) {
	if s.can.attach == 0 || s.lives == 0 && i != 0 { // the gateways are alike: the first to attach is A
		return
	}
	owned := s.head.owner != 0 && int(s.head.owner) != i+1
	t := *s
	t.can.attach--
	t.lives++
	g := &t.gw[i]
	g.before, g.view, g.at, g.force, g.life = s.head, s.head, claimed, owned, t.lives
	if owned {
		emit("reads the head, to attach by force", t)
	} else {
		emit("reads the head, to attach", t)
	}
}

// take raises the epoch: Claim.Take. Whoever fails to gives up: volume.Open.
func (m *model) take(s *state, i int, emit step) {
	next := s.gw[i].view
	if !m.without.epochRaise {
		next.epoch++
	}
	next.owner = uint8(i + 1)
	m.swap(s, i, next, func(t *state, outcome result) string {
		g := &t.gw[i]
		if outcome != swapped {
			g.leave(up)
			return "does not take the epoch"
		}
		// Volume.openMap: the local map counts if nobody had the volume since.
		ours := int(g.before.owner) == i+1 && g.epoch == g.before.epoch || m.without.epochOfMap
		g.start = t.at[g.before.root]
		if ours && g.mapped >= g.start {
			g.start = g.mapped
		}
		g.end, g.span, g.at = g.start, 0, taken
		g.view.n, g.view.spans = 0, [maxWriters]span{} // grows with what is recovered
		t.checkRooted(&g.before, "recovery finds no root")
		return "takes the epoch"
	}, emit)
}

// replay looks at the next segment of the history: Volume.replaySpan and Volume.replay.
func (m *model) replay(s *state, i int, emit step) {
	t := *s
	g := &t.gw[i]
	if g.span == g.before.n {
		t.recoveredAll(i)
		g.at = recovered
		emit("has recovered all", t)
		return
	}
	of := g.before.spans[g.span]
	keep := func(to uint8, more bool) {
		if to > 0 {
			g.view.spans[g.view.n] = span{of.writer, to}
			g.view.n++
		}
		if g.span++; !more {
			g.span = g.before.n
		}
	}
	if g.start.writer() > of.writer {
		keep(of.to, true)
		emit("knows a span already", t)
		return
	}
	to := uint8(0)
	if g.end.writer() == of.writer {
		to = g.end.seq()
	}
	next := id(0)
	if to < maxSeq && (of.to == 0 || to < of.to) {
		next = newID(of.writer, to+1)
	}
	if next == 0 || !g.unsent.has(uint8(next)) && !s.segs.has(uint8(next)) {
		keep(to, of.to == 0 || to == of.to)
		emit("comes to the end of a span", t)
		return
	}
	if t.made[next].prev != g.end {
		t.violate("a history is recovered that nobody wrote: " + next.String() + " does not follow " + g.end.String())
	}
	g.end = next
	emit("replays "+next.String(), t)
}

// begin writes the attachment into the head: Volume.begin. The spans in view are those that were recovered.
func (m *model) begin(s *state, i int, emit step) {
	g := &s.gw[i]
	next := g.view
	next.spans[next.n] = span{writer: g.writer}
	next.n++
	m.update(s, i, next, func(t *state, outcome result) string {
		g := &t.gw[i]
		if outcome != swapped {
			g.leave(up)
			return "cannot begin"
		}
		var in ids
		for _, id := range g.view.segments(g.end) {
			in.add(uint8(id))
		}
		g.queue = g.unsent & in
		g.epoch, g.mapped = g.view.epoch, g.end // saveState; attach's checkpoint
		g.at, g.before, g.span, g.start, g.force = serving, head{}, 0, 0, false
		return "serves"
	}, emit)
}

// serve is all that a gateway does with a volume that it serves, or that it has lost.
func (m *model) serve(s *state, i int, emit step) {
	g := &s.gw[i]
	if g.at == serving {
		m.write(s, i, emit)
		m.checkpoint(s, i, emit)
		m.writeRoot(s, i, emit)
		m.watch(s, i, emit)
		m.renew(s, i, emit)
		m.publish(s, i, emit)
		m.detach(s, i, emit)
	} else {
		t := *s
		t.gw[i].leave(up) // volumes.takeDown
		emit("takes the lost volume down", t)
	}
	m.upload(s, i, emit) // a lost volume's uploaders find out by nothing but a stop
	m.snapshotSteps(s, i, emit)
}

// write accepts and acknowledges a write, and seals its segment: Volume.Write, Volume.rotate.
func (m *model) write(s *state, i int, emit step) {
	g := &s.gw[i]
	seq := uint8(1)
	if g.end.writer() == g.writer {
		seq = g.end.seq() + 1
	}
	if s.can.write == 0 || seq > maxSeq {
		return
	}
	t := *s
	t.can.write--
	n := &t.gw[i]
	next := newID(g.writer, seq)
	if t.made[next] != (content{}) {
		t.violate("the name " + next.String() + " is given to two segments")
	}
	t.made[next] = content{g.view.epoch, g.end}
	n.end = next
	n.unsent.add(uint8(next))
	n.queue.add(uint8(next))
	t.acknowledged(i)
	emit("acknowledges a write: "+next.String(), t)
}

// checkpoint notes on the gateway's disk that its block map has all that is sealed: Volume.sealer.
func (m *model) checkpoint(s *state, i int, emit step) {
	if s.can.checkpoint == 0 || s.gw[i].mapped == s.gw[i].end {
		return
	}
	t := *s
	t.can.checkpoint--
	t.gw[i].mapped = t.gw[i].end
	emit("checkpoints its map at "+t.gw[i].end.String(), t)
}

// upload stores one segment: Volume.put. It is known to be there when the answer comes; else it is sent again.
func (m *model) upload(s *state, i int, emit step) {
	g := &s.gw[i]
	for id := range uint8(maxID + 1) {
		if !g.queue.has(id) {
			continue
		}
		t := *s
		t.segs.add(id)
		if t.segs != s.segs && s.can.resend > 0 {
			t := t
			t.can.resend--
			emit("uploads "+name(id)+", the answer is lost", t)
		}
		t.gw[i].queue.drop(id)
		t.gw[i].unsent.drop(id) // Cache.Sent: from now on it may be evicted
		emit("uploads "+name(id), t)
	}
}

// published is how far the history is in the bucket: uploadQueue.finish.
func (g *gateway) published() id {
	last := id(0)
	for _, id := range g.view.segments(g.end) {
		if g.queue.has(uint8(id)) {
			break
		}
		last = id
	}
	return last
}

// forward is what the head is told of that: Head.publish. A segment that is sent again, since its first upload was not noted, was published
// before.
func (m *model) forward(g *gateway) id {
	if m.without.forward {
		return g.published()
	}
	return max(g.view.published, g.published())
}

// writeRoot stores a root of what is published: Volume.considerRoot, Volume.writeRoot.
func (m *model) writeRoot(s *state, i int, emit step) {
	g := &s.gw[i]
	pos := g.published()
	if m.without.uploadFirst {
		pos = g.end
	}
	wanted := g.snap == cutting || g.snap == noSnap
	if !wanted || g.root != 0 || g.roots == maxRoots || s.can.root == 0 || pos <= s.at[g.view.root] {
		return
	}
	t := *s
	t.can.root--
	n := &t.gw[i]
	n.roots++
	n.root = (n.writer-1)*maxRoots + n.roots
	t.at[n.root] = pos
	t.roots.add(n.root)
	emit("stores a root of "+pos.String(), t)
}

// publish puts the root into the head: Volume.finishRoot.
func (m *model) publish(s *state, i int, emit step) {
	g := &s.gw[i]
	if g.root == 0 {
		return
	}
	next := g.view
	next.root, next.published = g.root, m.forward(g)
	m.update(s, i, next, func(t *state, outcome result) string {
		g := &t.gw[i]
		if outcome != swapped {
			return "cannot publish the root"
		}
		if g.snap == cutting {
			g.snap, g.cut = rooted, g.root
		}
		g.root = 0
		return "publishes a root"
	}, emit)
}

// renew says how far the volume is published: Volume.renew.
func (m *model) renew(s *state, i int, emit step) {
	g := &s.gw[i]
	next := g.view
	next.published = m.forward(g)
	if next == g.view || s.can.renew == 0 {
		return
	}
	s2 := *s
	s2.can.renew--
	m.update(&s2, i, next, func(_ *state, outcome result) string {
		if outcome != swapped {
			return "cannot renew"
		}
		return "renews, published up to " + next.published.String()
	}, emit)
}

// watch looks at the head: Claim.Watch.
func (m *model) watch(s *state, i int, emit step) {
	if s.head.etag == s.gw[i].view.etag || m.without.watching {
		return
	}
	t := *s
	t.reread(i)
	if t.gw[i].at == failed {
		emit("sees that the volume is lost", t)
	} else {
		emit("sees a head of its own", t)
	}
}

// detach gives the volume up: Volume.giveUp.
func (m *model) detach(s *state, i int, emit step) {
	g := &s.gw[i]
	if g.queue != 0 || g.root != 0 || g.snap != noSnap || s.at[g.view.root] != g.end || g.view.n == 0 {
		return // after uploading all, and a root of all
	}
	next := g.view
	next.owner, next.published = 0, g.end
	if last := next.n - 1; g.end.writer() == g.writer { // closeSpan
		next.spans[last].to = g.end.seq()
	} else {
		next.n, next.spans[last] = last, span{}
	}
	m.update(s, i, next, func(t *state, outcome result) string {
		g := &t.gw[i]
		switch outcome {
		case swapped:
			g.leave(up)
			return "gives the volume up"
		case unknown:
			if !m.without.settling {
				g.at = doubt
			}
			return "does not know whether it gave the volume up"
		case refused: // update has looked at the head
		}
		return "cannot give the volume up"
	}, emit)
}

// settle finds out whether the volume was given up, by a change of its own: what is still on its way cannot arrive after
// that. Claim.GiveUp.
func (m *model) settle(s *state, i int, emit step) {
	m.swap(s, i, s.gw[i].view, func(t *state, outcome result) string {
		g := &t.gw[i]
		switch outcome {
		case swapped:
			g.at = serving
			return "did not give the volume up, and goes on"
		case refused:
			g.view = t.head
			switch {
			case t.head.epoch != s.gw[i].view.epoch:
				g.at = failed
			case t.head.owner == 0:
				g.leave(up)
			}
			return "looks what became of the head"
		case unknown:
		}
		return "still does not know"
	}, emit)
}

// leave ends what a process knows of the volume.
func (g *gateway) leave(to place) {
	*g = gateway{unsent: g.unsent, epoch: g.epoch, mapped: g.mapped, late: g.late, stray: g.stray | g.queue, at: to}
}

// network delivers what a dead process has sent.
func (m *model) network(s *state, i int, emit step) {
	g := &s.gw[i]
	if g.late.pending {
		t := *s
		t.gw[i].late = request{}
		if s.head.etag == g.late.match || m.without.ifMatch {
			t.store(g.late.head)
		}
		emit("did change the head: that arrives late", t)
	}
	for id := range uint8(maxID + 1) {
		if g.stray.has(id) {
			t := *s
			t.gw[i].stray.drop(id)
			t.segs.add(id)
			emit("did send "+name(id)+": that arrives late", t)
		}
	}
}

// crash kills the process.
func (m *model) crash(s *state, i int, emit step) {
	if g := &s.gw[i]; g.at == down || g.at == up || s.can.crash == 0 {
		return
	}
	t := *s
	t.can.crash--
	t.gw[i].leave(down)
	emit("is killed", t)
}

func (i id) String() string { return name(uint8(i)) }

func name(i uint8) string {
	if i == 0 {
		return "the beginning"
	}
	return "w" + string('0'+id(i).writer()) + "/" + string('0'+id(i).seq())
}

// snapshotSteps bring a snapshot to the bucket: appliance's snapshots.run. They go on when the volume is lost.
func (m *model) snapshotSteps(s *state, i int, emit step) {
	g := &s.gw[i]
	t := *s
	n := &t.gw[i]
	switch g.snap {
	case noSnap:
		if g.at == serving && g.root == 0 && s.can.snap > 0 && s.snapshot == 0 && g.end > s.at[g.view.root] && !g.othersSnap(s, i) {
			t.can.snap--
			n.snap = cutting
			emit("begins a snapshot", t)
		}
	case cutting:
		if g.at == failed {
			n.snap = noSnap
			emit("gives the snapshot up", t)
		}
	case rooted: // Catalogue.Put
		t.snapshot = g.cut
		n.snap = recorded
		if m.without.confirming {
			t.complete, n.snap, n.cut = true, noSnap, 0
		}
		emit("stores the record of the snapshot", t)
	case recorded: // Cut.Confirm
		what := "confirms the snapshot"
		if t.complete = t.reread(i); !t.complete {
			t.snapshot, what = 0, "finds the volume lost and removes the record"
		}
		n.snap, n.cut = noSnap, 0
		emit(what, t)
	}
}

// othersSnap tells whether the other gateway works on the one snapshot there may be.
func (g *gateway) othersSnap(s *state, i int) bool { return s.gw[1-i].snap != noSnap }

// inOrder tells whether a list begins with another.
func inOrder(whole, begin []id) bool {
	return len(begin) <= len(whole) && slices.Equal(whole[:len(begin)], begin)
}
