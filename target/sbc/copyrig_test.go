package sbc

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"testing"

	"sluice/target/scsi"
)

// copyDisk is a ramDisk that copies inside itself, and whose writes of up to 256 KiB are atomic.
type copyDisk struct{ *ramDisk }

func (d copyDisk) Copy(ctx context.Context, dst, src, n int64) error {
	if (dst|src|n)%block != 0 || n <= 0 || dst < src+n && src < dst+n {
		panic("not whole blocks, or ranges that overlap")
	}
	if err := d.called(ctx, "copy", true, fmt.Sprintf(" %d<-%d+%d", dst/sector, src/sector, n/sector)); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	copy(d.data[dst:dst+n], d.data[src:])
	return nil
}

func (copyDisk) MaxAtomic() int64 { return 256 << 10 }

// peers are disks that know each other. Initiators named in barred may use none but their own.
type peers struct {
	disks  []*Device
	barred string
}

func (p *peers) Peer(_ *Device, initiator string, naa [16]byte) *Device {
	for _, d := range p.disks {
		if d.naa == naa && initiator != p.barred {
			return d
		}
	}
	return nil
}

// newPair returns two disks of one gateway, which can copy inside themselves.
func newPair(t testing.TB) (a, b *rig, p *peers) { return newPairOf(t, testSectors) }

func newPairOf(t testing.TB, sectors int) (a, b *rig, p *peers) {
	t.Helper()
	p = &peers{}
	shared := NewTokens()
	make1 := func(id byte) *rig {
		ram := &ramDisk{data: make([]byte, sectors*sector), mapped: make([]bool, sectors)}
		r := &rig{t: t, ram: ram, n: &scsi.Nexus{Initiator: "iqn.2026-01.test:host", ISID: [6]byte{id}, Portal: 1}}
		var err error
		r.d, err = New(Options{
			Disk: copyDisk{ram}, ID: [16]byte{1, id}, Target: "iqn.2026-01.test:disk", Peers: p, Tokens: shared, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		p.disks = append(p.disks, r.d)
		return r
	}
	return make1(1), make1(2), p
}

// on is the rig seen by another initiator.
func (r *rig) on(initiator string) *rig {
	other := *r
	other.n = &scsi.Nexus{Initiator: initiator, Portal: 1}
	return &other
}

// piece is a segment of EXTENDED COPY: from and to are indices of disks.
type piece struct {
	from, to         int
	source, n, place uint64
}

// xcopyList is a parameter list of EXTENDED COPY with a descriptor for each disk.
func xcopyList(id byte, disks []*Device, pieces ...piece) []byte {
	be := binary.BigEndian
	b := make([]byte, 16)
	b[0] = id
	for _, d := range disks {
		b = d.appendCSCD(b)
	}
	be.PutUint16(b[2:], uint16(32*len(disks)))
	be.PutUint32(b[8:], uint32(28*len(pieces)))
	for _, p := range pieces {
		b = append(b, 2, 0, 0, 24)
		b = be.AppendUint16(b, uint16(p.from))
		b = be.AppendUint16(b, uint16(p.to))
		b = append(b, 0, 0)
		b = be.AppendUint16(b, uint16(p.n))
		b = be.AppendUint64(b, p.source)
		b = be.AppendUint64(b, p.place)
	}
	return b
}

func (r *rig) xcopy(list []byte) *exchange {
	r.t.Helper()
	return r.do(cdb16(0x83, 0, 0, uint32(len(list))), list, 0)
}

// received sends a THIRD-PARTY COPY IN about a list of EXTENDED COPY.
func (r *rig) received(action, id byte) *exchange {
	r.t.Helper()
	cdb := cdb16(0x84, action, 0, 2000)
	cdb[2] = id
	return r.do(cdb, nil, 2000)
}

// tokenCDB is one of POPULATE TOKEN (0x10) or WRITE USING TOKEN (0x11).
func tokenCDB(action byte, id uint32, length int) []byte {
	cdb := cdb16(0x83, action, 0, uint32(length))
	binary.BigEndian.PutUint32(cdb[6:], id)
	return cdb
}

func appendRanges(b []byte, at int, pairs []uint64) []byte {
	binary.BigEndian.PutUint16(b[at:], uint16(8*len(pairs)))
	for i := 0; i < len(pairs); i += 2 {
		b = binary.BigEndian.AppendUint64(b, pairs[i])
		b = binary.BigEndian.AppendUint32(b, uint32(pairs[i+1]))
		b = append(b, 0, 0, 0, 0)
	}
	binary.BigEndian.PutUint16(b, uint16(len(b)-2))
	return b
}

func populateList(timeout uint32, pairs ...uint64) []byte {
	b := make([]byte, 16)
	binary.BigEndian.PutUint32(b[4:], timeout)
	return appendRanges(b, 14, pairs)
}

func useList(token []byte, offset uint64, pairs ...uint64) []byte {
	b := make([]byte, 536)
	binary.BigEndian.PutUint64(b[8:], offset)
	copy(b[16:], token)
	return appendRanges(b, 534, pairs)
}

func (r *rig) populate(id uint32, list []byte) *exchange {
	r.t.Helper()
	return r.do(tokenCDB(0x10, id, len(list)), list, 0)
}

func (r *rig) use(id uint32, list []byte) *exchange {
	r.t.Helper()
	return r.do(tokenCDB(0x11, id, len(list)), list, 0)
}

// info sends RECEIVE ROD TOKEN INFORMATION.
func (r *rig) info(id uint32) *exchange {
	r.t.Helper()
	cdb := cdb16(0x84, 7, 0, 2000)
	binary.BigEndian.PutUint32(cdb[2:], id)
	return r.do(cdb, nil, 2000)
}

// token makes a token for some ranges.
func (r *rig) token(pairs ...uint64) []byte {
	r.t.Helper()
	if got := r.populate(77, populateList(0, pairs...)).verdict(); got != "good" {
		r.t.Fatalf("POPULATE TOKEN: %s", got)
	}
	x := r.info(77)
	if got := x.verdict(); got != "good" || len(x.In) != 32+4+2+512 {
		r.t.Fatalf("RECEIVE ROD TOKEN INFORMATION: %s, %d bytes", got, len(x.In))
	}
	return append([]byte(nil), x.In[38:]...)
}

// fill gives each sector of a range a content of its own.
func (r *rig) fill(lba, n int, seed byte) {
	for i := lba; i < lba+n; i++ {
		p := r.ram.data[i*sector:][:sector]
		p[0], p[sector-1] = seed, seed
		binary.BigEndian.PutUint32(p[100:], uint32(i))
	}
}

func (r *rig) bytes(lba, n uint64) []byte { return r.ram.data[lba*sector : (lba+n)*sector] }
