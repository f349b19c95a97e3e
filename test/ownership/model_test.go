package ownership

// model is the protocol, perhaps without some of its mechanisms.
type model struct{ without mechanisms }

// mechanisms can be taken out, one or more at a time.
type mechanisms struct {
	ifMatch     bool // the head is changed whatever it is
	counter     bool // a writer number is one more than the last in the history
	rereading   bool // who finds the head changed takes its ETag and goes on
	epochRaise  bool // attaching leaves the epoch as it is
	epochOfMap  bool // the local map is believed whoever had the volume since
	uploadFirst bool // a root does not wait for what it names
	settling    bool // who does not know whether he gave the volume up goes on
	confirming  bool // a snapshot is complete without a last look at the head
	watching    bool // nobody looks at the head but to change it
	secondPass  bool // garbage is deleted when it is found for the first time
	headsAgain  bool // the collector reads the heads only before the snapshots
	newRoots    bool // roots newer than the head's are garbage
	forward     bool // the head says how far this attachment has published, though it was further before
	unsealed    bool // segments of a history that has no end yet are garbage
	cloneCheck  bool // a clone does not look whether its snapshot still exists
}

// steps are all that can happen next.
func (m *model) steps(s *state, emit func(name string, next state)) {
	for i := range s.gw {
		lost := s.gw[i].at == serving && s.head.epoch != s.gw[i].view.epoch
		who, finds := string(rune('A'+i)), false
		m.gatewaySteps(s, i, func(name string, next state) {
			finds = finds || next.gw[i].at == failed
			emit(who+" "+name, next)
		})
		if lost && !finds {
			t := *s
			t.violate("a gateway has lost the volume, and no look at the bucket tells it")
			emit("nothing", t)
		}
	}
	m.collectorSteps(s, emit)
	m.userSteps(s, emit)
}

// explore visits every state that a budget allows.
func (m *model) explore(can budget) *explored {
	first := state{can: can, gw: [2]gateway{{at: up}, {at: up}}}
	return explore(first, m.steps, func(s *state) string { return s.bad })
}

type result uint8

const (
	swapped result = iota
	refused        // the head is another one
	unknown        // no answer
)

// swap changes the head by compare-and-swap: Claim.write. Then says what the process makes of the outcome.
func (m *model) swap(s *state, i int, next head, then func(*state, result) string, emit step) {
	t := *s
	g := &t.gw[i]
	match := g.view.etag
	if s.head.etag == match || m.without.ifMatch {
		m.checkChange(&t, i, &next)
		t.store(next)
		stored := t.head
		lost := t
		g.view = stored
		emit(then(&t, swapped), t)
		if s.can.lost > 0 {
			lost.can.lost--
			emit(then(&lost, unknown)+" (done, the answer lost)", lost)
		}
	} else {
		what := then(&t, refused)
		emit(what, t)
	}
	if s.can.lost > 0 && !s.gw[i].late.pending {
		t := *s
		t.can.lost--
		t.gw[i].late = request{true, match, next}
		emit(then(&t, unknown)+" (on its way, given up)", t)
	}
}

// update is Claim.Update: as swap, but who finds the head changed looks whether it is still his, and tries again.
func (m *model) update(s *state, i int, next head, then func(*state, result) string, emit step) {
	m.swap(s, i, next, func(t *state, outcome result) string {
		at := t.gw[i].at
		if outcome != refused {
			return then(t, outcome)
		}
		if m.without.rereading {
			t.gw[i].view.etag = t.head.etag
			return "finds the head changed and goes on"
		}
		if !t.reread(i) {
			if at != serving && at != failed { // Open gives up
				t.gw[i].leave(up)
			}
			return "finds the volume lost"
		}
		return "finds the head changed by itself"
	}, emit)
}

// reread takes the head over if it is still this attachment's: Claim.reread.
func (s *state) reread(i int) bool {
	g := &s.gw[i]
	if s.head.epoch != g.view.epoch || int(s.head.owner) != i+1 {
		if g.at == serving {
			g.at = failed
		}
		return false
	}
	if g.at == serving || g.at == failed {
		g.view = s.head
	} else { // its spans are those that were recovered
		g.view.etag = s.head.etag
	}
	return true
}

// store puts a head in place.
func (s *state) store(next head) {
	etag := s.head.etag + 1
	s.checkHistory(&next)
	if next.owner != s.head.owner && next.owner != 0 && s.head.owner != 0 {
		s.forced.add(s.head.epoch)
	}
	s.head = next
	s.head.etag = etag
	s.checkBucket()
}
