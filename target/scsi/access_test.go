package scsi

import (
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestAccess sends every kind of command while somebody else has a reservation: EXCLUSIVE
// ACCESS, WRITE EXCLUSIVE (SPC-4 table 66), and RESERVE (SPC-2 table 10).
func TestAccess(t *testing.T) {
	const no, yes = "conflict", "good"
	for _, c := range []struct {
		name              string
		cdb, out          []byte
		exclusive, writes string
		reserve           string
	}{
		{"TEST UNIT READY", turCDB, nil, yes, yes, no},
		{"INQUIRY", inquiryCDB(0, 0, 36), nil, yes, yes, yes},
		{"REQUEST SENSE", []byte{0x03, 0, 0, 0, 252, 0}, nil, yes, yes, yes},
		{"REPORT LUNS", []byte{0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0}, nil, yes, yes, yes},
		{"READ", readCDB, nil, no, yes, no},
		{"WRITE", writeCDB, nil, no, no, no},
		{"MODE SENSE(6)", []byte{0x1a, 0, 0x3f, 0, 255, 0}, nil, no, yes, no},
		{"MODE SENSE(10)", []byte{0x5a, 0, 0x3f, 0, 0, 0, 0, 0, 255, 0}, nil, no, yes, no},
		{"MODE SELECT(6)", []byte{0x15, 0x10, 0, 0, 4, 0}, make([]byte, 4), no, no, no},
		{"SEND DIAGNOSTIC", []byte{0x1d, 4, 0, 0, 0, 0}, nil, no, no, no},
		{"REPORT SUPPORTED OPERATION CODES", []byte{0xa3, 0x0c, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0}, nil, no, yes, no},
		{"PERSISTENT RESERVE IN", []byte{0x5e, 0, 0, 0, 0, 0, 0, 0, 255, 0}, nil, yes, yes, no},
		{"RESERVE(6)", []byte{0x16, 0, 0, 0, 0, 0}, nil, no, no, no},
		{"RELEASE(6)", []byte{0x17, 0, 0, 0, 0, 0}, nil, no, no, yes},
	} {
		for typ, want := range map[prType]string{exclusiveAccess: c.exclusive, writeExclusive: c.writes, 0: c.reserve} {
			r := newRig(t, nil)
			holder, other := r.nexus("h"), r.nexus("o")
			if typ == 0 {
				r.expect(holder, []byte{0x16, 0, 0, 0, 0, 0}, nil, yes)
				if got := r.prOut(holder, prRegister, 0, 0, 1, 0); got != no {
					t.Errorf("the holder of a RESERVE registers: %s", got)
				}
			} else {
				r.must(r.prOut(holder, prRegister, 0, 0, 1, 0))
				r.must(r.prOut(holder, prReserve, typ, 1, 0, 0))
			}
			if got := r.do(other, c.cdb, c.out).verdict(); got != want {
				t.Errorf("%s, reservation type %d: %s, want %s", c.name, typ, got, want)
			}
		}
	}
}

// TestRequests draws random requests and checks what must be so of each: one that fails changes
// nothing, who loses a registration is told, and who asks is not.
func TestRequests(t *testing.T) {
	ports := []initiatorPort{{Name: "a"}, {Name: "b"}, {Name: "c"}, {Name: "d"}}
	rapid.Check(t, func(rt *rapid.T) {
		var r registrations
		key := rapid.Uint64Range(0, 3)
		for range rapid.IntRange(1, 40).Draw(rt, "requests") {
			q := &prRequest{
				action: rapid.IntRange(prRegister, prRegisterAndIgnore).Draw(rt, "action"),
				port:   rapid.SampledFrom(ports).Draw(rt, "port"),
				typ:    rapid.SampledFrom(allTypes).Draw(rt, "type"),
				key:    key.Draw(rt, "key"), new: key.Draw(rt, "new"),
			}
			before, next := r.clone(), r.clone()
			p := next.apply(q)
			if !reflect.DeepEqual(r, before) {
				rt.Fatal("a copy shares memory with its original")
			}
			if (p.status != Good || p.bad != nil) && !reflect.DeepEqual(next, before) {
				rt.Fatalf("%+v failed and changed %+v to %+v", q, before, next)
			}
			for _, n := range p.notices {
				if n.port == q.port || before.find(n.port) == nil {
					rt.Fatalf("%+v: %s is told %04x", q, n.port.Name, n.code)
				}
			}
			for _, x := range before.Registrants {
				told := slices.ContainsFunc(p.notices, func(n notice) bool { return n.port == x.Port })
				if x.Port != q.port && next.find(x.Port) == nil && !told {
					rt.Fatalf("%+v: %s lost its registration and is not told", q, x.Port.Name)
				}
			}
			if q.action != prPreemptAndAbort && p.preempted != nil || slices.Contains(p.preempted, q.port) {
				rt.Fatalf("%+v aborts commands of %v", q, p.preempted)
			}
			if err := next.check(); err != nil {
				rt.Fatalf("%+v: %v", q, err)
			}
			r = next
		}
	})
}
