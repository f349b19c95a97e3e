package volume_test

import (
	"context"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"sluice/object"
	"sluice/volume"
)

// machine drives a volume and a byte array side by side. All of the array is what the
// volume must read as; after the loss of a gateway's disk it goes back to what was uploaded.
type machine struct {
	t     testing.TB
	store object.Store
	head  *volume.Head
	g     *gateway
	v     *volume.Volume
	model []byte
	rnd   *rand.Rand
	names int
}

const modelSize = 8 * mib

func (m *machine) fill(p []byte) {
	// Short runs of random and constant bytes: some frames compress, some do not.
	for i := 0; i < len(p); {
		n := min(len(p)-i, 1+m.rnd.IntN(8192))
		if m.rnd.IntN(2) == 0 {
			for k := range n {
				p[i+k] = byte(m.rnd.Uint32())
			}
		} else {
			b := byte(m.rnd.Uint32())
			for k := range n {
				p[i+k] = b
			}
		}
		i += n
	}
}

func (m *machine) extent(t *rapid.T, unit int64) (off, n int64) {
	off = rapid.Int64Range(0, modelSize/unit-1).Draw(t, "off") * unit
	n = rapid.Int64Range(1, min(256*1024, modelSize-off)/unit).Draw(t, "n") * unit
	return off, n
}

func (m *machine) write(t *rapid.T) {
	count := rapid.IntRange(1, 4).Draw(t, "extents")
	unit := rapid.SampledFrom([]int64{512, 4096, 4096}).Draw(t, "unit")
	var bufs [][]byte
	var offs []int64
	for range count {
		off, n := m.extent(t, unit)
		p := make([]byte, n)
		m.fill(p)
		bufs, offs = append(bufs, p), append(offs, off)
	}
	if err := m.v.Write(context.Background(), bufs, offs, true); err != nil {
		t.Fatal(err)
	}
	for i := range bufs {
		copy(m.model[offs[i]:], bufs[i])
	}
}

func (m *machine) zero(t *rapid.T) {
	off, n := m.extent(t, 512)
	if rapid.Bool().Draw(t, "long") {
		n = (modelSize - off) / 2 / 512 * 512
	}
	if err := m.v.Zero(context.Background(), off, n, rapid.Bool().Draw(t, "unmap")); err != nil {
		t.Fatal(err)
	}
	clear(m.model[off : off+n])
}

func (m *machine) copy(t *rapid.T) {
	src, n := m.extent(t, 4096)
	dst := rapid.Int64Range(0, (modelSize-n)/4096).Draw(t, "dst") * 4096
	if dst < src+n && src < dst+n {
		return
	}
	if err := m.v.Copy(context.Background(), dst, src, n); err != nil {
		t.Fatal(err)
	}
	copy(m.model[dst:dst+n], m.model[src:src+n])
}

func (m *machine) read(t *rapid.T) {
	off, n := m.extent(t, 512)
	expect(m.t, m.v, off, m.model[off:off+n])
}

func (m *machine) flush(t *rapid.T) {
	if err := m.v.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func (m *machine) upload(t *rapid.T) {
	if err := m.v.Upload(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func (m *machine) restart(*rapid.T) {
	m.g.stop()
	m.start(m.g.dir, false)
}

// crash goes on with a copy of the data directory, as kill -9 leaves it.
func (m *machine) crash(*rapid.T) {
	dir := m.g.crashed()
	m.g.stop()
	m.start(dir, false)
}

// lose throws the data directory away after an upload: the bucket alone has everything.
func (m *machine) lose(t *rapid.T) {
	m.upload(t)
	m.g.stop()
	m.names++
	m.start(m.t.TempDir(), true)
}

// detach gives the volume up and attaches it on another gateway.
func (m *machine) detach(t *rapid.T) {
	if err := m.v.Detach(context.Background()); err != nil {
		t.Fatal(err)
	}
	m.g.abandon()
	m.names++
	m.start(m.t.TempDir(), false)
}

func (m *machine) start(dir string, force bool) {
	m.g = newGateway(m.t, m.store, gatewayOptions{name: string(rune('a' + m.names)), dir: dir, cache: 9 * mib})
	m.v = m.g.attach(m.head, force)
	expect(m.t, m.v, 0, m.model)
}

// TestModel runs random operations, restarts, crashes and moves between gateways, with a cache
// smaller than the volume, and compares the volume with a byte array.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &machine{t: t, store: newStore(t), model: make([]byte, modelSize), rnd: rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1))}
		m.head = create(t, m.store, modelSize)
		m.g = newGateway(t, m.store, gatewayOptions{name: "a", cache: 9 * mib})
		m.v = m.g.attach(m.head, false)
		rt.Repeat(map[string]func(*rapid.T){
			"write": m.write, "write2": m.write, "write3": m.write,
			"zero": m.zero, "copy": m.copy, "copy2": m.copy, "read": m.read, "read2": m.read, "flush": m.flush, "upload": m.upload,
			"restart": m.restart, "crash": m.crash, "lose": m.lose, "detach": m.detach,
		})
		expect(t, m.v, 0, m.model)
		m.g.stop()
	})
}
