package ownership

// acknowledged checks that gateway i may acknowledge I/O now. It is always possible that it does not know yet that the volume was
// taken from it by force; what it acknowledges until then is what force costs. But an epoch is one attachment's, and nobody
// answers for a volume that another one can have without force.
func (s *state) acknowledged(i int) {
	g := &s.gw[i]
	epoch := g.view.epoch
	switch s.served[epoch] {
	case 0:
		s.served[epoch] = g.life
	case g.life:
	default:
		s.violate("two attachments serve in one epoch")
	}
	if !s.forced.has(epoch) && (s.head.epoch != epoch || int(s.head.owner) != i+1) {
		s.violate("a write is acknowledged by a gateway that anybody may relieve without force")
	}
}

// checkChange checks that a gateway changes only the head of its own epoch.
func (m *model) checkChange(s *state, i int, next *head) {
	g := &s.gw[i]
	take := g.at == claimed
	if !take && s.head.epoch != next.epoch || take && next.epoch < s.head.epoch {
		s.violate("a gateway that lost its epoch publishes")
	}
	if !take && s.served[next.epoch] != 0 && s.served[next.epoch] != g.life {
		s.violate("two attachments publish in one epoch")
	}
}

// checkHistory checks that what was published stays published.
func (s *state) checkHistory(next *head) {
	if !inOrder(next.segments(next.published), s.head.segments(s.head.published)) {
		s.violate("what was published goes back")
	}
}

// checkBucket checks that all that the head needs is there and fits together, and so what a confirmed snapshot and a confirmed clone need.
func (s *state) checkBucket() {
	h := &s.head
	s.checkRooted(h, "the root of the head, or what it names, is gone")
	prev := id(0)
	for _, i := range h.segments(h.published) {
		if s.made[i].prev != prev {
			s.violate("the published history mixes attachments: " + i.String() + " does not follow " + prev.String())
		}
		prev = i
		if i > s.at[h.root] && !s.segs.has(uint8(i)) {
			s.violate("a published segment is not in the bucket: " + i.String())
		}
	}
	if s.complete && s.snapshot != 0 {
		s.checkRoot(s.snapshot, "a complete snapshot, or what it names, is gone")
	}
	if s.cloned == 3 {
		s.checkRoot(s.clone, "what a clone names is gone")
	}
}

func (s *state) checkRooted(h *head, what string) {
	if h.root != 0 {
		s.checkRoot(h.root, what)
	}
}

func (s *state) checkRoot(root uint8, what string) {
	if !s.roots.has(root) || !s.segs.has(uint8(s.at[root])) {
		s.violate(what)
	}
}

// checkDeleted checks that a deletion took nothing that the owner may still publish.
func (s *state) checkDeleted(segs, roots ids) {
	s.checkBucket()
	for i := range s.gw {
		g := &s.gw[i]
		if g.at < serving || g.view.epoch != s.head.epoch {
			continue
		}
		if g.root != 0 && roots.has(g.root) {
			s.violate("a root is deleted that is to be published")
		}
		for _, i := range g.view.segments(g.end) {
			if i > s.at[s.head.root] && segs.has(uint8(i)) && !g.queue.has(uint8(i)) {
				s.violate("a segment is deleted that the owner has uploaded: " + i.String())
			}
		}
	}
}

// recoveredAll checks what a gateway recovered: all that was published; and all that was acknowledged, if it was its own.
func (s *state) recoveredAll(i int) {
	g := &s.gw[i]
	list := g.view.segments(g.end)
	if !inOrder(list, g.before.segments(g.before.published)) {
		s.violate("what was published is not recovered")
	}
	last := uint8(0) // the last epoch in which anything was acknowledged
	for epoch := range uint8(maxEpochs) {
		if s.served[epoch] != 0 {
			last = epoch
		}
	}
	if int(g.before.owner) != i+1 || s.forced>>last != 0 {
		return
	}
	var have ids
	for _, id := range list {
		have.add(uint8(id))
	}
	for id := range uint8(maxID + 1) {
		if g.unsent.has(id) && s.made[id].epoch == last && !have.has(id) {
			s.violate("an acknowledged write is not recovered: " + name(id))
		}
	}
}
