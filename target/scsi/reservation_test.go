package scsi

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// memory is a Registry that may be told to fail.
type memory struct {
	mu    sync.Mutex
	state []byte
	err   error
}

func (m *memory) Load() ([]byte, error) { return m.state, m.err }

func (m *memory) Save(_ context.Context, state []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil {
		m.state = bytes.Clone(state)
	}
	return m.err
}

var allTypes = []prType{writeExclusive, exclusiveAccess, writeExclusiveRegs, exclusiveAccessRegs, writeExclusiveAll, exclusiveAccessAll}

// TestMatrix is who may do what under each type of reservation (SPC-4 table 64).
func TestMatrix(t *testing.T) {
	const no, yes = "conflict", "good"
	want := map[prType][4]string{ // reads and writes of a registrant, reads and writes of others
		writeExclusive:      {yes, no, yes, no},
		exclusiveAccess:     {no, no, no, no},
		writeExclusiveRegs:  {yes, yes, yes, no},
		exclusiveAccessRegs: {yes, yes, no, no},
		writeExclusiveAll:   {yes, yes, yes, no},
		exclusiveAccessAll:  {yes, yes, no, no},
	}
	for typ, w := range want {
		t.Run(fmt.Sprintf("type %d", typ), func(t *testing.T) {
			r := newRig(t, nil)
			holder, registrant, other := r.nexus("h"), r.nexus("r"), r.nexus("o")
			r.must(r.prOut(holder, prRegister, 0, 0, 0x11, 0))
			r.must(r.prOut(registrant, prRegister, 0, 0, 0x22, 0))
			r.must(r.prOut(holder, prReserve, typ, 0x11, 0, 0))
			for _, n := range []*Nexus{holder, registrant, other} {
				r.expect(n, inquiryCDB(0, 0, 36), nil, yes)
				r.prIn(n, 1)
			}
			r.expect(holder, readCDB, nil, yes)
			r.expect(holder, writeCDB, nil, yes)
			r.expect(registrant, readCDB, nil, w[0])
			r.expect(registrant, writeCDB, nil, w[1])
			r.expect(other, readCDB, nil, w[2])
			r.expect(other, writeCDB, nil, w[3])

			// Only a holder reserves again, and only as it is.
			r.must(r.prOut(holder, prReserve, typ, 0x11, 0, 0))
			again := no
			if typ.heldByAll() {
				again = yes
			}
			if got := r.prOut(registrant, prReserve, typ, 0x22, 0, 0); got != again {
				t.Errorf("the registrant reserves: %s", got)
			}
			if got := r.prOut(other, prReserve, typ, 0, 0, 0); got != no {
				t.Errorf("another reserves: %s", got)
			}
			another := writeExclusive
			if typ == another {
				another = exclusiveAccessAll
			}
			if got := r.prOut(holder, prReserve, another, 0x11, 0, 0); got != no {
				t.Errorf("the holder reserves otherwise: %s", got)
			}
			// The reservation survives its session and a reset; the new session holds it.
			r.u.Detach(holder)
			r.u.Reset(other)
			r.expect(other, turCDB, nil, "6/2903")
			r.expect(other, writeCDB, nil, no)
			holder = r.nexus("h")
			r.expect(holder, writeCDB, nil, yes)
			// A wrong type is no release; the right one tells registrants if they lose by it.
			if got := r.prOut(holder, prRelease, another, 0x11, 0, 0); got != "5/2604" {
				t.Errorf("released by another type: %s", got)
			}
			r.expect(registrant, turCDB, nil, "6/2903")
			r.must(r.prOut(holder, prRelease, typ, 0x11, 0, 0))
			if typ.registrantsMay() {
				r.expect(registrant, turCDB, nil, "6/2a04")
			}
			r.expect(registrant, writeCDB, nil, yes)
			r.expect(other, writeCDB, nil, yes)
		})
	}
}

// TestRegister walks through REGISTER and REGISTER AND IGNORE EXISTING KEY.
func TestRegister(t *testing.T) {
	r := newRig(t, &memory{})
	a, b := r.nexus("a"), r.nexus("b")
	keys := func(want ...uint64) {
		t.Helper()
		got := r.prIn(a, 0)
		var body []byte
		for _, k := range want {
			body = binary.BigEndian.AppendUint64(body, k)
		}
		if int(binary.BigEndian.Uint32(got[4:])) != len(body) || !bytes.Equal(got[8:], body) {
			t.Errorf("keys % x, want %x", got[8:], want)
		}
	}
	steps := []struct {
		n        *Nexus
		action   int
		key, new uint64
		flags    byte
		want     string
		keys     []uint64
	}{
		{a, prRegister, 0, 0, 0, "good", nil},
		{a, prRegister, 5, 1, 0, "conflict", nil},
		{a, prRegister, 0, 1, 1, "good", []uint64{1}},
		{a, prRegister, 0, 2, 0, "conflict", []uint64{1}},
		{b, prRegister, 0, 0, 0, "good", []uint64{1}}, // says nothing, so also not that APTPL is off
		{b, prRegisterAndIgnore, 9, 2, 1, "good", []uint64{1, 2}},
		{b, prRegisterAndIgnore, 9, 3, 1, "good", []uint64{1, 3}},
		{a, prRegister, 1, 4, 1, "good", []uint64{4, 3}},
		{a, prRegister, 4, 0, 1, "good", []uint64{3}},
		{a, prRegister, 0, 1, 0x08, "5/2600", []uint64{3}}, // SPEC_I_PT
		{a, prRegister, 0, 1, 0x04, "5/2600", []uint64{3}}, // ALL_TG_PT
		{a, prReserve, 1, 0, 0, "conflict", []uint64{3}},
	}
	aptpl := false
	for i, s := range steps {
		typ := prType(0)
		if s.action == prReserve {
			typ = writeExclusive
		}
		before := r.u.pr.Generation
		if got := r.prOut(s.n, s.action, typ, s.key, s.new, s.flags); got != s.want {
			t.Errorf("step %d: %s, want %s", i, got, s.want)
		}
		keys(s.keys...)
		acted := s.want == "good" && (i > 1 && s.n == a || s.new != 0)
		if (r.u.pr.Generation != before) != acted {
			t.Errorf("step %d: generation %d after %d", i, r.u.pr.Generation, before)
		}
		if acted {
			aptpl = s.flags&1 != 0
		}
		if r.u.pr.APTPL != aptpl {
			t.Errorf("step %d: APTPL is %v", i, r.u.pr.APTPL)
		}
	}
	for _, typ := range []byte{0, 2, 4, 9, 0x11} { // also scope 1
		if got := r.prOut(b, prReserve, prType(typ), 3, 0, 0); got != "5/2400" {
			t.Errorf("type %x: %s", typ, got)
		}
	}
	if got := r.prIn(a, 2); !bytes.Equal(got, []byte{0, 8, 1, 0x81, 0xea, 1, 0, 0}) {
		t.Errorf("capabilities: % x", got)
	}
	r.must(r.prOut(b, prReserve, exclusiveAccess, 3, 0, 0))
	full := r.prIn(a, 3)
	id := append([]byte("iqn.2026-01.test:b,i,0x800000000062"), 0)
	want := join([]byte{0, 0, 0, byte(r.u.pr.Generation), 0, 0, 0, byte(28 + len(id))},
		[]byte{0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 1, 3, 0, 0, 0, 0, 0, 1, 0, 0, 0, byte(4 + len(id)), 0x45, 0, 0, byte(len(id))}, id)
	if !bytes.Equal(full, want) {
		t.Errorf("full status\n% x, want\n% x", full, want)
	}
	for i := range maxRegistrants - 1 {
		r.must(r.prOut(&Nexus{Initiator: fmt.Sprint("x", i)}, prRegister, 0, 0, 7, 1))
	}
	if got := r.prOut(a, prRegister, 0, 0, 1, 0); got != "5/5504" {
		t.Errorf("one registrant more than %d: %s", len(r.u.pr.Registrants), got)
	}
}

// TestPreempt lets b preempt, in all ways.
func TestPreempt(t *testing.T) {
	setup := func(t *testing.T, typ prType) (r *rig, a, b, c *Nexus) {
		r = newRig(t, nil)
		a, b, c = r.nexus("a"), r.nexus("b"), r.nexus("c")
		for i, n := range []*Nexus{a, b, c} {
			r.must(r.prOut(n, prRegister, 0, 0, uint64(i+1), 0))
		}
		if typ != 0 {
			r.must(r.prOut(a, prReserve, typ, 1, 0, 0))
		}
		return r, a, b, c
	}
	for _, typ := range allTypes {
		t.Run(fmt.Sprintf("a registrant, type %d", typ), func(t *testing.T) {
			r, a, b, c := setup(t, typ)
			r.must(r.prOut(b, prPreempt, typ, 2, 3, 0))
			r.expect(c, turCDB, nil, "6/2a05")
			r.expect(c, writeCDB, nil, "conflict")
			r.expect(a, writeCDB, nil, "good") // the reservation is where it was
		})
		t.Run(fmt.Sprintf("the holder, type %d", typ), func(t *testing.T) {
			r, a, b, c := setup(t, typ)
			key := uint64(1)
			if typ.heldByAll() {
				key = 0
			}
			r.must(r.prOut(b, prPreempt, writeExclusive, 2, key, 0))
			r.expect(a, turCDB, nil, "6/2a05")
			r.expect(a, writeCDB, nil, "conflict")
			r.expect(b, writeCDB, nil, "good")
			switch {
			case typ.heldByAll():
				r.expect(c, turCDB, nil, "6/2a05")
			case typ != writeExclusive:
				r.expect(c, turCDB, nil, "6/2a04")
			default:
				r.expect(c, readCDB, nil, "good")
			}
			if want := map[bool]int{true: 1, false: 2}[typ.heldByAll()]; len(r.u.pr.Registrants) != want {
				t.Errorf("%d registrants are left", len(r.u.pr.Registrants))
			}
		})
	}
	t.Run("without a reservation", func(t *testing.T) {
		r, a, b, _ := setup(t, 0)
		r.must(r.prOut(b, prPreempt, writeExclusive, 2, 1, 0))
		r.expect(a, turCDB, nil, "6/2a05")
		if r.u.pr.reserved() || len(r.u.pr.Registrants) != 2 {
			t.Errorf("left: %+v", r.u.pr)
		}
	})
	t.Run("refused", func(t *testing.T) {
		r, _, b, _ := setup(t, exclusiveAccess)
		for want, got := range map[string]string{
			"conflict":  r.prOut(b, prPreempt, writeExclusive, 2, 99, 0),
			"5/2600":    r.prOut(b, prPreempt, writeExclusive, 2, 0, 0),
			"conflict ": r.prOut(b, prPreempt, writeExclusive, 1, 1, 0) + " ",
		} {
			if got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
		if r.u.pr.Type != exclusiveAccess || len(r.u.pr.Registrants) != 3 {
			t.Errorf("changed: %+v", r.u.pr)
		}
	})
	t.Run("the holder changes the type", func(t *testing.T) {
		r, a, b, _ := setup(t, exclusiveAccess)
		r.must(r.prOut(a, prPreempt, writeExclusiveRegs, 1, 1, 0))
		r.expect(b, turCDB, nil, "6/2a04")
		r.expect(b, writeCDB, nil, "good")
	})
	t.Run("and abort", func(t *testing.T) {
		r, _, b, c := setup(t, writeExclusiveRegs)
		started := make(chan struct{})
		r.work = func(ctx context.Context) Status {
			close(started)
			<-ctx.Done()
			return TaskAborted
		}
		x := r.command(c, workCDB, nil)
		r.u.Submit(t.Context(), []*Command{&x.Command})
		<-started
		r.must(r.prOut(b, prPreemptAndAbort, writeExclusiveRegs, 2, 3, 0))
		if got := x.wait(t).verdict(); got != "status 40" {
			t.Errorf("the command of who was preempted: %s", got)
		}
	})
	t.Run("clear", func(t *testing.T) {
		r, a, b, c := setup(t, exclusiveAccess)
		r.must(r.prOut(b, prClear, 0, 2, 0, 0))
		r.expect(a, turCDB, nil, "6/2a03")
		r.expect(c, turCDB, nil, "6/2a03")
		r.expect(b, writeCDB, nil, "good")
		if got := r.prIn(a, 0); len(got) != 8 {
			t.Errorf("keys are left: % x", got)
		}
	})
	t.Run("the holder leaves", func(t *testing.T) {
		for _, typ := range allTypes {
			r, a, b, _ := setup(t, typ)
			r.must(r.prOut(a, prRegister, 0, 1, 0, 0))
			want := "good"
			if typ == writeExclusiveRegs || typ == exclusiveAccessRegs {
				want = "6/2a04"
			}
			r.expect(b, turCDB, nil, want)
			if r.u.pr.reserved() != typ.heldByAll() {
				t.Errorf("type %d: %+v", typ, r.u.pr)
			}
		}
	})
}

// TestReservationInvariants sends random requests from three initiators: whatever they do, what
// would be saved could be loaded again, nobody loses the lock-free path for nothing, and of two
// initiators at most one writes unless the type lets registrants.
func TestReservationInvariants(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := newRig(t, nil)
		nexuses := []*Nexus{r.nexus("a"), r.nexus("b"), r.nexus("c")}
		key := rapid.Uint64Range(0, 3)
		rt.Repeat(map[string]func(*rapid.T){
			"request": func(rt *rapid.T) {
				n := rapid.SampledFrom(nexuses).Draw(rt, "nexus")
				action := rapid.IntRange(0, 6).Draw(rt, "action")
				typ := rapid.SampledFrom(allTypes).Draw(rt, "type")
				k := key.Draw(rt, "key")
				if me := r.u.pr.find(portOf(n)); me != nil && rapid.Bool().Draw(rt, "own key") {
					k = me.Key
				}
				r.prOut(n, action, typ, k, key.Draw(rt, "new key"), 0)
			},
			"": func(rt *rapid.T) {
				if err := r.u.pr.check(); err != nil {
					rt.Fatal(err)
				}
				writers := 0
				for _, n := range nexuses {
					for r.do(n, turCDB, nil).Status == CheckCondition { // unit attentions
					}
					if r.do(n, writeCDB, nil).verdict() == "good" {
						writers++
						if r.u.pr.reserved() && r.u.pr.find(portOf(n)) == nil {
							rt.Fatalf("%s writes without a registration", n.Initiator)
						}
					}
				}
				if r.u.restricted.Load() != r.u.pr.reserved() {
					rt.Fatalf("restricted: %v, reserved: %v", r.u.restricted.Load(), r.u.pr.reserved())
				}
				want := len(nexuses)
				switch {
				case r.u.pr.Type.registrantsMay():
					want = len(r.u.pr.Registrants)
				case r.u.pr.reserved():
					want = 1
				}
				if writers != want {
					rt.Fatalf("%d initiators may write, want %d: %+v", writers, want, r.u.pr)
				}
			},
		})
	})
}

// TestOutlasting restarts units that keep all registrations, whether or not an initiator asks for that.
func TestOutlasting(t *testing.T) {
	m := &memory{}
	outlasting := func() *rig {
		r := newRig(t, m)
		r.u.cfg.Outlasting = true
		return r
	}
	r := outlasting()
	a, b := r.nexus("a"), r.nexus("b")
	r.must(r.prOut(a, prRegister, 0, 0, 1, 0))
	r.must(r.prOut(b, prRegister, 0, 0, 2, 0))
	r.must(r.prOut(a, prReserve, writeExclusive, 1, 0, 0))

	r = outlasting()
	a, b = r.nexus("a"), r.nexus("b")
	r.expect(b, writeCDB, nil, "conflict")
	r.expect(a, writeCDB, nil, "good")
	if got := r.prIn(a, prReportCapabilities); got[3]&0x01 != 0 {
		t.Errorf("PTPL_A, although nobody asked for it: % x", got)
	}
	r.must(r.prOut(a, prClear, 0, 1, 0, 0))
	if len(m.state) > 0 {
		t.Errorf("nobody is registered, and kept is %s", m.state)
	}
	r = outlasting()
	r.expect(r.nexus("b"), writeCDB, nil, "good")
}

// TestRegistry restarts units on a registry that keeps, fails, or holds nonsense.
func TestRegistry(t *testing.T) {
	m := &memory{}
	r := newRig(t, m)
	a, b := r.nexus("a"), r.nexus("b")
	r.must(r.prOut(a, prRegister, 0, 0, 1, 1))
	r.must(r.prOut(b, prRegister, 0, 0, 2, 1))
	r.must(r.prOut(a, prReserve, exclusiveAccess, 1, 0, 0))

	m.err = errors.New("the disk is full")
	if got := r.prOut(a, prRelease, exclusiveAccess, 1, 0, 0); got != "4/4400" {
		t.Errorf("a release that is not saved: %s", got)
	}
	if got := r.prOut(b, prRegister, 0, 2, 9, 1); got != "4/4400" {
		t.Errorf("a key that is not saved: %s", got)
	}
	r.expect(b, writeCDB, nil, "conflict")
	m.err = nil
	if got := r.prIn(b, 0); got[23] != 2 {
		t.Errorf("the key changed although it could not be saved: % x", got)
	}

	r = newRig(t, m) // all goes down
	a, b = r.nexus("a"), r.nexus("b")
	r.expect(b, readCDB, nil, "conflict")
	r.expect(a, writeCDB, nil, "good")
	r.must(r.prOut(a, prRegister, 0, 1, 1, 0)) // from now on nothing survives

	r = newRig(t, m)
	r.expect(r.nexus("b"), writeCDB, nil, "good")

	if got := newRig(t, nil); got.prOut(got.nexus("a"), prRegister, 0, 0, 1, 1) != "5/2600" {
		t.Error("APTPL is accepted with nowhere to keep it")
	}
	for _, bad := range []string{
		"{", `{"type":3}`, `{"type":2,"registrants":[{"key":1}],"holder":{}}`, `{"type":7}`,
		`{"type":3,"registrants":[{"port":{"name":"a"},"key":1}],"holder":{"name":"b"}}`, `{"holder":{"name":"b"}}`,
	} {
		if _, err := NewUnit(Config{Registry: &memory{state: []byte(bad)}}, nil, nil); err == nil {
			t.Errorf("a registry that holds %s was believed", bad)
		}
	}
	if _, err := NewUnit(Config{Registry: &memory{err: errors.New("gone")}}, nil, nil); err == nil {
		t.Error("a registry that cannot be read was taken for an empty one")
	}
}
