package sessions

import (
	"bytes"
	"testing"

	"sluice/target/pdu"
)

const (
	piece = 512 // sectors: as much as goes with a command
	cold  = 0   // where data is that is in the bucket only

	written = 640 // pieces: 160 MiB
)

// freeze makes a volume whose first data is in the bucket only, and freezes the store.
func freeze(t *testing.T) (*lab, *raw) {
	t.Helper()
	l := newLab(t, 0)
	r := newRaw(t, l.gw, volume, 1)
	for n := range written { // more than the cache holds
		r.await(r.write(n*piece, pattern(byte(n+1), piece)))
	}
	l.gw.WaitUploaded(volume)
	l.store.Freeze()
	return l, r
}

// fill writes behind the end of what is there until a write waits for room in the upload
// buffer, and returns that one's tag and place.
func (r *raw) fill() (itt uint32, block int) {
	r.t.Helper()
	for n := range 1000 {
		block = (written + n) * piece
		itt = r.write(block, pattern(0xcc, piece))
		if _, err := r.tryAwait(itt, patience/4); err != nil {
			return itt, block
		}
	}
	r.t.Fatal("the upload buffer is never full")
	return 0, 0
}

// TestAbortsWhileTheStoreIsFrozen: with a bucket that never answers, task management ends at once a
// read that waits for it and a write that waits for room, other commands go on, and what a
// write has not done before the response it never does.
func TestAbortsWhileTheStoreIsFrozen(t *testing.T) {
	l, r := freeze(t)
	defer l.store.Thaw()
	read := r.read(cold, 8)
	r.stuck(read)
	r.manage(pdu.TaskAbort, read)
	for _, f := range []pdu.TaskFunction{pdu.TaskAbortSet, pdu.TaskClearSet, pdu.TaskLUReset} {
		read = r.read(cold+8, 8)
		r.stuck(read)
		r.manage(f, pdu.NoTag)
	}
	r.await(r.command([16]byte{}, nil, 0)) // takes the unit attention of the reset
	if a, ok := r.early[read]; ok {
		t.Fatalf("an aborted read was answered: status %#02x", a.status)
	}

	write, block := r.fill()
	stuck := newRaw(t, l.gw, volume, 2)
	other := stuck.write(block+piece/2, pattern(0xee, 8)) // of another session, and it waits as well
	r.manage(pdu.TaskAbort, write)
	before := r.content(block, 8)
	again := r.write(block, pattern(0xdd, piece))
	r.stuck(again)
	r.manage(pdu.TaskLUReset, pdu.NoTag)
	r.await(r.command([16]byte{}, nil, 0))
	l.store.Thaw()
	l.gw.WaitUploaded(volume)
	if _, err := stuck.tryAwait(other, patience/10); err == nil {
		t.Error("a write was answered that a reset had aborted")
	}
	if after := r.content(block, 8); !bytes.Equal(before, after) {
		t.Errorf("an aborted write came late: %x, and then %x", before[0], after[0])
	}
	if got := r.content(block+piece/2, 1); got[0] == 0xee {
		t.Error("an aborted write of another session came late")
	}
	if got := r.content(cold, 8); !bytes.Equal(got, pattern(1, 8)) {
		t.Errorf("what is in the bucket reads as %x", got[0])
	}
}

// TestReinstatementWhileTheStoreIsFrozen: an initiator that logs in again gets its new session at
// once, although the commands of the old one would wait for ever; none of them is carried
// out once the new one lives.
func TestReinstatementWhileTheStoreIsFrozen(t *testing.T) {
	l, r := freeze(t)
	defer l.store.Thaw()
	r.stuck(r.read(cold, 8))
	_, block := r.fill()
	fresh := newRaw(t, l.gw, volume, 1)
	before := fresh.content(block, 8)
	l.store.Thaw()
	l.gw.WaitUploaded(volume)
	if after := fresh.content(block, 8); !bytes.Equal(before, after) {
		t.Errorf("a write of the old session came late: %x, and then %x", before[0], after[0])
	}
	if got := fresh.content(cold, 8); !bytes.Equal(got, pattern(1, 8)) {
		t.Errorf("what is in the bucket reads as %x", got[0])
	}
}
