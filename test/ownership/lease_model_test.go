package ownership

// The lease of the model, in ticks. A clock may lose one tick in slack, so a lease of term ticks is over after patience of anybody's.
const (
	term     = 5
	patience = 6 // patience of the appliance's standby: a fifth longer
	slack    = 6
)

// leaseModel is the protocol of the leases, perhaps without some of its mechanisms.
type leaseModel struct{ without leaseMechanisms }

// leaseMechanisms can be taken out one at a time.
type leaseMechanisms struct {
	fromQuestion bool // a confirmation counts from its answer
	byRenewal    bool // who sees his own head takes that for a confirmation
	acknowledge  bool // the lease is looked at before the I/O only
	longer       bool // a standby waits for as long as the lease
	fromAnswer   bool // and counts from its question
	ifSeen       bool // it takes the volume from whatever head there is
	suspension   bool // time in which a machine is suspended does not count
	silence      bool // who stops goes on answering meanwhile
}

// leaseHead is what volume.Head has of the lease. The ETag stands for the nonce, too.
type leaseHead struct {
	etag, epoch, owner uint8 // owner: 1 + the gateway's index
	stopped            bool
}

// question is a change of the head that was asked for.
type question struct {
	at    asked
	match uint8 // the ETag
	head  leaseHead
	age   uint8 // ticks since it was asked, up to term
}

type asked uint8

const (
	nothing asked = iota
	onItsWay
	done
	denied
)

// station is what a gateway is to the volume.
type station uint8

const (
	away station = iota
	standingBy
	taking
	holding  // owns the epoch: answers I/O while its lease is held
	stopping // answers none any more: Volume.Settle
)

// holder is a gateway with its clock.
type holder struct {
	at    station
	head  leaseHead // holding: as it was last read or written
	since uint8     // ticks since the last confirmation was asked for, up to term
	begun bool      // I/O is under way
	ask   question
	late  question // given up, or of a process that has died

	look   asked     // a standby's look at the head
	found  leaseHead // what it found
	looked uint8     // ticks since it was asked, for those who count from there
	seen   leaseHead // the head of the looks before
	quiet  uint8     // ticks for which it has been the same, up to patience

	exact uint8 // ticks since the clock lost one, up to slack-1
}

func (g *holder) held() bool { return (g.at == holding || g.at == stopping) && g.since < term }

// leaseBudget bounds what happens. Time is not bounded.
type leaseBudget struct{ start, take, renew, lost, kill, stop, suspend uint8 }

// leaseState is everything. It is comparable, and has no pointers.
type leaseState struct {
	head leaseHead
	gw   [2]holder
	can  leaseBudget
	bad  string
}

func (m *leaseModel) explore(can leaseBudget) *explored {
	first := leaseState{can: can}
	for i := range first.gw {
		first.gw[i].exact = slack - 1
	}
	return explore(first, m.steps, func(s *leaseState) string { return s.bad })
}

type leaseStep = func(name string, next leaseState)

// steps are all that can happen next.
func (m *leaseModel) steps(s *leaseState, emit leaseStep) {
	m.ticks(s, emit)
	for i := range s.gw {
		who := string(rune('A'+i)) + " "
		// one makes a step of gateway i.
		one := func(name string, change func(t *leaseState, g *holder)) {
			t := *s
			change(&t, &t.gw[i])
			emit(who+name, t)
		}
		switch s.gw[i].at {
		case away:
			if s.can.start > 0 && (i == 0 || s.gw[0].at != away || s.head.epoch > 0) { // they are alike: A is first
				one("starts", func(t *leaseState, g *holder) { t.can.start--; g.at = standingBy })
			}
		case standingBy:
			m.standBy(s, i, one)
		case holding:
			m.hold(s, i, one)
		case taking, stopping:
		}
		m.io(s, i, one)
		m.answers(s, i, one)
		if g := &s.gw[i]; g.at != away && s.can.kill > 0 {
			one("is killed", func(t *leaseState, g *holder) { t.can.kill--; g.leave(away) })
		}
	}
}

// change is a step of one gateway.
type change = func(name string, change func(t *leaseState, g *holder))

// ticks lets time pass, for both gateways: a clock may miss it, now and then, and a machine may be suspended meanwhile.
func (m *leaseModel) ticks(s *leaseState, emit leaseStep) {
	for _, slow := range [][2]bool{{false, false}, {true, false}, {false, true}, {true, true}} {
		if slow[0] && s.gw[0].exact < slack-1 || slow[1] && s.gw[1].exact < slack-1 {
			continue
		}
		name := "a tick"
		t := *s
		for i := range t.gw {
			if g := &t.gw[i]; slow[i] {
				name += ", which the clock of " + string(rune('A'+i)) + " misses"
				g.exact = 0
			} else {
				m.tick(g)
				g.exact = min(g.exact+1, slack-1)
			}
		}
		emit(name, t)
	}
	for i := range s.gw {
		if s.can.suspend == 0 || s.gw[i].at == away {
			continue
		}
		t := *s
		t.can.suspend--
		m.tick(&t.gw[1-i])
		if !m.without.suspension {
			m.tick(&t.gw[i])
		}
		emit("a tick, while the machine of "+string(rune('A'+i))+" is suspended", t)
	}
}

func (m *leaseModel) tick(g *holder) {
	if g.at == holding || g.at == stopping {
		g.since = min(g.since+1, term)
	}
	if g.ask.at == onItsWay || g.ask.at == done {
		g.ask.age = min(g.ask.age+1, term)
	}
	if g.look != nothing && m.without.fromAnswer {
		g.looked = min(g.looked+1, patience)
	}
	if g.seen.epoch > 0 {
		g.quiet = min(g.quiet+1, patience)
	}
}

// standBy looks at the head, and takes the volume when it may: standby.lookAt, standby.note. A look takes any time, so a gap between two of them needs
// no step of its own.
func (m *leaseModel) standBy(s *leaseState, i int, one change) {
	switch s.gw[i].look {
	case nothing:
		one("asks for the head", func(_ *leaseState, g *holder) { g.look = onItsWay })
	case onItsWay:
		one("has its look arrive", func(t *leaseState, g *holder) { g.look, g.found = done, t.head })
	case done, denied:
		one("sees the head", func(t *leaseState, g *holder) { m.note(t, g, uint8(i+1)) })
	}
}

func (m *leaseModel) note(t *leaseState, g *holder, me uint8) {
	found, looked := g.found, g.looked
	g.look, g.found, g.looked = nothing, leaseHead{}, 0
	if found.owner != 0 && found.owner != me { // else it may attach the volume at once
		if found != g.seen {
			if g.seen, g.quiet = found, 0; m.without.fromAnswer {
				g.quiet = looked
			}
		}
		wait := uint8(patience)
		if m.without.longer {
			wait = term
		}
		if g.quiet < wait && !found.stopped {
			return
		}
	}
	if t.can.take == 0 {
		return
	}
	t.can.take--
	g.seen, g.quiet = leaseHead{}, 0
	g.at, g.ask = taking, question{at: onItsWay, match: found.etag, head: leaseHead{epoch: found.epoch + 1, owner: me}}
}

// hold is what an owner does about its lease: Claim.KeepLease, Claim.Watch, Volume.Settle.
func (m *leaseModel) hold(s *leaseState, i int, one change) {
	if s.gw[i].ask.at != nothing { // Claim.writing
		return
	}
	if s.can.renew > 0 {
		one("asks to renew the lease", func(t *leaseState, g *holder) {
			t.can.renew--
			g.ask = question{at: onItsWay, match: g.head.etag, head: g.head}
		})
	}
	if s.head != s.gw[i].head || m.without.byRenewal {
		one("looks at the head", func(t *leaseState, g *holder) { m.reread(t, g) })
	}
	if s.can.stop > 0 {
		one("stops in order", func(t *leaseState, g *holder) {
			t.can.stop--
			g.ask = question{at: onItsWay, match: g.head.etag, head: g.head}
			g.ask.head.stopped = true
			if g.at = stopping; !m.without.silence {
				g.begun = false // its sessions have ended
			}
		})
	}
}

// reread takes the head over if it is still this attachment's: Claim.reread.
func (m *leaseModel) reread(t *leaseState, g *holder) {
	if t.head.epoch != g.head.epoch || t.head.owner != g.head.owner {
		g.leave(standingBy)
		return
	}
	if g.head = t.head; m.without.byRenewal {
		g.since = 0
	}
}

// io begins I/O and acknowledges it: leasedVolume.
func (m *leaseModel) io(s *leaseState, i int, one change) {
	g := &s.gw[i]
	if g.held() && !g.begun && (g.at == holding || m.without.silence) {
		one("lets I/O begin", func(_ *leaseState, g *holder) { g.begun = true })
	}
	if !g.begun {
		return
	}
	if !g.held() && !m.without.acknowledge {
		one("does not acknowledge the I/O", func(_ *leaseState, g *holder) { g.begun = false })
		return
	}
	one("acknowledges I/O", func(t *leaseState, g *holder) {
		if g.begun = false; t.head.epoch != g.head.epoch || int(t.head.owner) != i+1 {
			t.bad = "a gateway acknowledges I/O of a volume that another one has"
		}
	})
}

// answers has the bucket answer what a gateway asked for, now, late or never.
func (m *leaseModel) answers(s *leaseState, i int, one change) {
	g := &s.gw[i]
	if g.late.at == onItsWay {
		one("has an earlier question arrive late", func(t *leaseState, g *holder) {
			m.change(t, &g.late)
			g.late = question{}
		})
	}
	switch g.ask.at {
	case nothing:
		return
	case onItsWay:
		one("has its question arrive", func(t *leaseState, g *holder) { m.change(t, &g.ask) })
	case done:
		one("hears that it is done", func(_ *leaseState, g *holder) { m.confirm(g) })
	case denied:
		one("hears that the head has changed", func(t *leaseState, g *holder) {
			if g.ask = (question{}); g.at == holding {
				m.reread(t, g)
			} else {
				g.leave(standingBy)
			}
		})
	}
	if s.can.lost > 0 && (g.ask.at != onItsWay || g.late.at == nothing) {
		one("waits for no answer any more", func(t *leaseState, g *holder) {
			t.can.lost--
			if g.at == holding {
				g.giveUp()
			} else {
				g.leave(standingBy) // what it may own now it attaches: standby.mend
			}
		})
	}
}

// change is the bucket's compare-and-swap.
func (m *leaseModel) change(t *leaseState, q *question) {
	take := q.head.epoch > t.head.epoch
	if q.match != t.head.etag && (!m.without.ifSeen || !take) {
		*q = question{at: denied}
		return
	}
	etag := t.head.etag + 1
	t.head = q.head
	t.head.etag = etag
	q.at, q.head = done, t.head
}

// confirm is Claim.write after its answer.
func (m *leaseModel) confirm(g *holder) {
	q := g.ask
	g.ask = question{}
	switch g.at {
	case taking:
		g.at = holding
	case stopping:
		g.leave(away)
		return
	case away, standingBy, holding:
	}
	if g.head, g.since = q.head, q.age; m.without.fromQuestion {
		g.since = 0
	}
}

// giveUp leaves a question to itself: it may still arrive.
func (g *holder) giveUp() {
	if g.ask.at == onItsWay {
		g.late = g.ask
		g.late.age = 0 // nobody hears the answer
	}
	g.ask = question{}
}

// leave ends what a process knows of the volume.
func (g *holder) leave(to station) {
	g.giveUp()
	*g = holder{at: to, late: g.late, exact: g.exact}
}
