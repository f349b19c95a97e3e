package hostile

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"hash/crc32"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/target/pdu"
	"sluice/test/harness"
)

// sequence is an attack, and what must come of it.
type sequence struct {
	name    string // what is wrong
	must    string // what has to happen
	section string // where it says so: of RFC 7143 unless it names another
	steps   []step
	writes  extent // the blocks that it may change: those that it writes to as it should
}

// extent is a run of blocks.
type extent struct{ first, n int }

const (
	blockSize    = 512
	volumeBlocks = 4 << 20 / blockSize
	chunk        = 128 // blocks that the bystander reads or writes at once
	initiatorIQN = "iqn.2026-11.test:attacker"
	guardedIQN   = "iqn.2026-11.test:guarded"
	chapUser     = "attacker"
	chapSecret   = "a secret of some length"
	mutualUser   = "gateway"
	mutualSecret = "another secret, of ours"
)

// scene is a daemon with a volume for everybody and one behind CHAP, and the bystander.
type scene struct {
	gw        *harness.Gateway
	portal    string // of the daemon
	victim    string // target names
	guarded   string
	bystander *peer
	content   []byte // of the volume
	sequences int
}

// newScene starts a daemon with more arguments of "serve", if any.
func newScene(t testing.TB, args ...string) *scene {
	t.Helper()
	s := &scene{gw: harness.Start(t, harness.Options{Args: args})}
	s.portal, s.victim, s.guarded = s.gw.Portal, s.gw.IQN("victim"), s.gw.IQN("guarded")
	s.gw.CreateVolume("victim", "4MiB")
	s.gw.CreateVolume("guarded", "4MiB")
	dir := harness.TempDir(t)
	secret := func(name, value string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	s.gw.CLI("chap", "set", "guarded", "--initiator", guardedIQN, "--user", chapUser, "--secret-file", secret("one", chapSecret),
		"--mutual-user", mutualUser, "--mutual-secret-file", secret("other", mutualSecret))
	s.content = make([]byte, volumeBlocks*blockSize)
	for i := range volumeBlocks {
		b := s.content[i*blockSize : (i+1)*blockSize]
		for j := 0; j < blockSize; j += 8 { // every word knows its place
			binary.BigEndian.PutUint64(b[j:], uint64(i*blockSize+j)|0xa5<<56)
		}
	}
	s.bystander = s.peer(t, net.IPv4(127, 0, 0, 1))
	s.bystander.name = "iqn.2026-11.test:bystander"
	s.bystander.connect()
	s.bystander.login(s.bystander.identity(), "MaxRecvDataSegmentLength=262144")
	s.restore(t, extent{0, volumeBlocks})
	return s
}

// peer is an attacker who has not connected yet.
func (s *scene) peer(t testing.TB, source net.IP) *peer {
	return &peer{
		t: t, portal: s.portal, source: source, name: initiatorIQN, target: s.victim,
		isid: [6]byte{0x80, 0, 0, 1}, cid: 1, cmdSN: 100, expSN: 1, agreed: make(map[string]string),
	}
}

// run plays a sequence and looks what has become of everybody else.
func (s *scene) run(t *testing.T, q *sequence) {
	s.sequences++
	p := s.peer(t, net.IPv4(127, 1, byte(s.sequences>>8), byte(s.sequences)))
	p.isid[4], p.isid[5] = byte(s.sequences>>8), byte(s.sequences)
	t.Logf("must be: %s (%s)", q.must, q.section)
	played := 0
	defer func() {
		if t.Failed() {
			t.Logf("step %d of %d", played, len(q.steps))
		}
	}()
	for _, step := range q.steps {
		played++
		step(p)
	}
	if p.conn != nil {
		_ = p.conn.Close()
	}
	s.check(t, q.writes)
}

// check lets the bystander look: the daemon lives, his session is untouched, and so is
// the volume outside of the blocks that were written to, which he puts right again.
func (s *scene) check(t testing.TB, writes extent) {
	t.Helper()
	select {
	case <-s.gw.Exited():
		t.Fatalf("the daemon has died:\n%s", s.gw.LogTail(40))
	default:
	}
	b := s.bystander
	b.t = t
	b.renewDeadline()
	alive(b)
	now := make([]byte, 0, len(s.content))
	for lba := 0; lba < volumeBlocks; lba += chunk {
		now = append(now, b.read(lba, chunk)...)
	}
	lo, hi := writes.first*blockSize, (writes.first+writes.n)*blockSize
	copy(now[lo:hi], s.content[lo:hi])
	if crc32.ChecksumIEEE(now) != crc32.ChecksumIEEE(s.content) {
		for i := range volumeBlocks {
			if at := i * blockSize; !bytes.Equal(now[at:at+blockSize], s.content[at:at+blockSize]) {
				t.Fatalf("block %d was changed, which nobody wrote to: %x...", i, now[at:at+32])
			}
		}
	}
	s.restore(t, writes)
}

// restore writes what should be there.
func (s *scene) restore(t testing.TB, e extent) {
	t.Helper()
	for e.n > 0 {
		n := min(e.n, chunk)
		s.bystander.overwrite(e.first, s.content[e.first*blockSize:(e.first+n)*blockSize])
		e.first, e.n = e.first+n, e.n-n
	}
}

// attention tells whether a response is a unit attention, which is no refusal.
func attention(h *pdu.Header, data []byte) bool {
	return h.Opcode() == pdu.OpSCSIResponse && h[3] == 2 && len(data) > 4 && data[4]&15 == 6
}

// try sends a command until no unit attention is in its way, and returns all data-in.
func (p *peer) try(m message) []byte {
	p.t.Helper()
	for range 8 {
		send(m)(p)
		var got []byte
		for {
			h, data, err := p.receive()
			if err != nil {
				p.t.Fatalf("a command that must succeed: %v", err)
			}
			if h.Opcode() == pdu.OpDataIn {
				got = append(got, data...)
			}
			if h.Opcode() == pdu.OpDataIn && h[1]&1 == 0 {
				continue
			}
			p.expSN++
			if h[3] == 0 && h.Opcode() != pdu.OpReject {
				return got
			}
			if !attention(&h, data) {
				p.t.Fatalf("a command that must succeed: %s", describe(&h, data))
			}
			break
		}
	}
	p.t.Fatal("unit attentions without end")
	return nil
}

// read returns n blocks.
func (p *peer) read(lba, n int) []byte {
	p.t.Helper()
	got := p.try(reading(n*blockSize, read10(lba, n)...))
	if len(got) != n*blockSize {
		p.t.Fatalf("a read of %d blocks returned %d bytes", n, len(got))
	}
	return got
}

func (p *peer) overwrite(lba int, data []byte) {
	p.t.Helper()
	p.try(writing(len(data), data, write10(lba, len(data)/blockSize)...))
}

// TestBattery plays every sequence against one daemon, and looks after each.
func TestBattery(t *testing.T) {
	s := newScene(t)
	names := make(map[string]bool)
	for _, table := range []struct {
		name      string
		sequences []sequence
	}{
		{"strangers", strangers()},
		{"login", logins()},
		{"keys", keys()},
		{"membership", memberships()},
		{"CHAP", chaps()},
		{"opcodes", opcodes()},
		{"segments", segments()},
		{"digests", digests()},
		{"numbers", numbers()},
		{"lengths", lengths()},
		{"CDBs", cdbs()},
		{"units", units()},
		{"data-out", dataOuts()},
		{"tasks", tasks()},
		{"text", texting()},
		{"endings", endings()},
	} {
		t.Run(table.name, func(t *testing.T) {
			for i := range table.sequences {
				q := &table.sequences[i]
				if name := table.name + ": " + q.name; names[name] {
					t.Errorf("two sequences are called %q", name)
				} else {
					names[name] = true
				}
				t.Run(q.name, func(t *testing.T) { s.run(t, q) })
			}
		})
	}
	t.Logf("%d sequences", s.sequences)
	if s.sequences < 180 && !t.Failed() && !filtered() {
		t.Errorf("%d sequences only", s.sequences)
	}
}

// filtered tells whether only some sequences were asked for.
func filtered() bool { return strings.Contains(flag.Lookup("test.run").Value.String(), "/") }

func named(format string, args ...any) string { return fmt.Sprintf(format, args...) }
