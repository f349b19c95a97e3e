package target

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"

	"sluice/target/pdu"
)

// machine is an initiator that runs many commands at once: it answers R2Ts, puts data-in
// together, and checks every number that the target sends.
type machine struct {
	*initiator
	maxOut, firstBurst, maxBurst int
	initialR2T, immediate        bool

	sendMu sync.Mutex // CmdSN order is the order of sending
	mu     sync.Mutex
	jobs   map[uint32]*job // nil when the connection has ended
	asked  chan asked
}

// asked is an R2T to be answered; they are answered in order (DataSequenceInOrder).
type asked struct {
	job *job
	r   pdu.R2T
}

type job struct {
	out, in []byte
	offset  int
	sn      pdu.SN // DataSN and R2TSN
	done    chan error
}

func newMachine(i *initiator) *machine {
	return &machine{initiator: i, jobs: make(map[uint32]*job), asked: make(chan asked, 64)}
}

// run executes a command and returns its data-in.
func (m *machine) run(itt uint32, cdb [16]byte, out []byte, in int) ([]byte, error) {
	j := &job{out: out, in: make([]byte, in), done: make(chan error, 1)}
	m.mu.Lock()
	ended := m.jobs == nil
	if !ended {
		m.jobs[itt] = j
	}
	m.mu.Unlock()
	if ended {
		return nil, net.ErrClosed
	}
	immediate := 0
	if m.immediate {
		immediate = min(len(out), m.firstBurst, m.maxOut)
	}
	unsolicited := immediate
	if !m.initialR2T {
		unsolicited = min(len(out), m.firstBurst)
	}
	c := pdu.SCSICommand{
		Final: unsolicited == immediate, Read: in > 0, Write: len(out) > 0, ITT: itt, CDB: cdb,
		ExpectedLength: uint32(max(in, len(out))), DataLength: uint32(immediate),
	}
	m.sendMu.Lock()
	c.CmdSN = m.cmdSN
	m.cmdSN++
	var h pdu.Header
	c.Marshal(&h)
	_, err := m.conn.Write(m.encode(&h, out[:immediate]))
	if err == nil && unsolicited > immediate {
		err = m.sendData(itt, pdu.NoTag, out, immediate, unsolicited)
	}
	m.sendMu.Unlock()
	if err != nil {
		return nil, err
	}
	return j.in, <-j.done
}

func (m *machine) sendData(itt, ttt uint32, out []byte, from, to int) error {
	for sn := pdu.SN(0); from < to; sn++ {
		n := min(to-from, m.maxOut)
		d := pdu.DataOut{Final: from+n == to, ITT: itt, TTT: ttt, DataSN: sn, Offset: uint32(from), DataLength: uint32(n)}
		var h pdu.Header
		d.Marshal(&h)
		if _, err := m.conn.Write(m.encode(&h, out[from:from+n])); err != nil {
			return err
		}
		from += n
	}
	return nil
}

// listen takes what the target sends until the connection ends.
func (m *machine) listen() {
	var answering sync.WaitGroup
	answering.Go(func() {
		for a := range m.asked {
			m.sendMu.Lock()
			err := m.sendData(a.r.ITT, a.r.TTT, a.job.out, int(a.r.Offset), int(a.r.Offset+a.r.Length))
			m.sendMu.Unlock()
			if err != nil {
				m.t.Errorf("answer R2T: %v", err)
			}
		}
	})
	for m.take() == nil {
	}
	close(m.asked)
	answering.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, j := range m.jobs {
		j.done <- net.ErrClosed
	}
	m.jobs = nil
}

func (m *machine) take() error {
	h, data, err := m.tryReceive()
	if err != nil {
		return err
	}
	m.mu.Lock()
	j := m.jobs[h.ITT()]
	m.mu.Unlock()
	if j == nil {
		m.t.Errorf("no task for this PDU: %x", h)
		return net.ErrClosed
	}
	if err, ended := m.handle(j, &h, data); ended || err != nil {
		m.mu.Lock()
		delete(m.jobs, h.ITT())
		m.mu.Unlock()
		j.done <- err
	}
	return nil
}

func (m *machine) handle(j *job, h *pdu.Header, data []byte) (err error, ended bool) {
	switch h.Opcode() {
	case pdu.OpR2T:
		var r pdu.R2T
		r.Unmarshal(h)
		if r.R2TSN != j.sn || int(r.Length) > m.maxBurst || int(r.Offset)+int(r.Length) > len(j.out) {
			return fmt.Errorf("bad R2T %+v", r), true
		}
		j.sn++
		m.asked <- asked{j, r}
	case pdu.OpDataIn:
		var d pdu.DataIn
		d.Unmarshal(h)
		if d.DataSN != j.sn || int(d.Offset) != j.offset || len(data) > m.maxOut || j.offset+len(data) > len(j.in) {
			return fmt.Errorf("bad Data-In %+v", d), true
		}
		if ends := j.offset/m.maxBurst != (j.offset+len(data))/m.maxBurst || j.offset+len(data) == len(j.in); d.Final != ends {
			return fmt.Errorf("F is %v at %d", d.Final, j.offset), true
		}
		j.sn++
		j.offset += copy(j.in[j.offset:], data)
		if d.HasStatus {
			return m.ended(j, d.Status, d.Residual), true
		}
	case pdu.OpSCSIResponse:
		var r pdu.SCSIResponse
		r.Unmarshal(h)
		if r.ExpDataSN != j.sn {
			return fmt.Errorf("ExpDataSN is %d after %d PDUs", r.ExpDataSN, j.sn), true
		}
		return m.ended(j, r.Status, r.Residual), true
	default:
		return fmt.Errorf("opcode %#02x", byte(h.Opcode())), true
	}
	return nil, false
}

func (m *machine) ended(j *job, status byte, residual uint32) error {
	if status != 0 || residual != 0 || j.offset != len(j.in) {
		return fmt.Errorf("status %#02x, residual %d, %d of %d bytes in", status, residual, j.offset, len(j.in))
	}
	return nil
}

// TestDataIntegrity writes and reads at random with every way to move data, several
// commands at once, and the logical unit answering at once or from other goroutines.
func TestDataIntegrity(t *testing.T) {
	for bits := range 1 << 5 {
		initialR2T, immediate, digests, tiny, inline := bits&1 > 0, bits&2 > 0, bits&4 > 0, bits&8 > 0, bits&16 > 0
		name := fmt.Sprintf("InitialR2T=%v,ImmediateData=%v,digests=%v,tiny=%v,inline=%v", initialR2T, immediate, digests, tiny, inline)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, true, Options{Limits: Limits{SessionMemory: 256 << 10}})
			r.disk.inline = inline
			m := newMachine(r.connect())
			m.initialR2T, m.immediate = initialR2T, immediate
			m.maxOut, m.firstBurst, m.maxBurst = 8192, 16384, 65536
			if tiny {
				m.maxOut, m.firstBurst, m.maxBurst = 512, 1024, 2048
			}
			yes := map[bool]string{false: "No", true: "Yes"}
			digest := map[bool]string{false: "None", true: "CRC32C"}[digests]
			m.mustLogin("InitialR2T="+yes[initialR2T], "ImmediateData="+yes[immediate], "HeaderDigest="+digest, "DataDigest="+digest,
				fmt.Sprintf("MaxRecvDataSegmentLength=%d", m.maxOut), fmt.Sprintf("FirstBurstLength=%d", m.firstBurst),
				fmt.Sprintf("MaxBurstLength=%d", m.maxBurst), "MaxOutstandingR2T=3")
			var all sync.WaitGroup
			all.Go(m.listen)
			var workers sync.WaitGroup
			for w := range 8 {
				workers.Go(func() { m.work(uint32(w), 15) })
			}
			workers.Wait()
			_ = m.conn.Close() // it ends listen
			all.Wait()
		})
	}
}

// work writes and reads in a part of the disk that is its own.
func (m *machine) work(id uint32, rounds int) {
	const blocks = 256
	rng := rand.New(rand.NewPCG(1, uint64(id)))
	model := make([]byte, blocks*sector)
	base := int(id) * blocks
	for range rounds {
		from := rng.IntN(blocks)
		n := 1 + rng.IntN(blocks-from)
		part := model[from*sector : (from+n)*sector]
		if rng.IntN(2) == 0 {
			for k := range part {
				part[k] = byte(rng.Uint32())
			}
			if _, err := m.run(id, write10(base+from, n), bytes.Clone(part), 0); err != nil {
				m.t.Errorf("write: %v", err)
				return
			}
			continue
		}
		got, err := m.run(id, read10(base+from, n), nil, n*sector)
		if err != nil || !bytes.Equal(got, part) {
			m.t.Errorf("read %d blocks at %d: %v, or other data", n, from, err)
			return
		}
	}
}
