package volume_test

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"testing"
)

// TestConcurrentSectors lets several writers own interleaved sectors of the same blocks, so
// that every write is a part of a block that others write too. Each sector carries a
// counter: no writer may ever find its own sector other than it left it.
func TestConcurrentSectors(t *testing.T) {
	const writers, sectors, rounds = 8, 1024, 300
	store := newStore(t)
	head := create(t, store, 16*mib)
	g := newGateway(t, store, gatewayOptions{cache: 16 * mib})
	v := g.attach(head, false)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(w), 7))
			var count [sectors]uint64
			p, got := make([]byte, 512), make([]byte, 512)
			for range rounds {
				s := rnd.IntN(sectors/writers)*writers + w
				off := int64(s) * 512
				if err := v.Read(context.Background(), got, off, true); err != nil {
					t.Error(err)
					return
				}
				if n := binary.LittleEndian.Uint64(got); n != count[s] {
					t.Errorf("sector %d holds %d and should hold %d", s, n, count[s])
					return
				}
				count[s]++
				binary.LittleEndian.PutUint64(p, count[s])
				if err := v.Write(context.Background(), [][]byte{p}, []int64{off}, true); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	g.stop()
}
