package volume_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"sluice/object"
	"sluice/volume/segment"
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

// vanishing is a store in which an object is gone at its first reading, after something else has happened.
type vanishing struct {
	object.Store
	key    string
	before func()
}

func (s *vanishing) GetRange(ctx context.Context, key string, off, n int64) ([]byte, string, error) {
	if key == s.key && s.before != nil {
		before := s.before
		s.before = nil
		before()
		return nil, "", fmt.Errorf("get %s: %w", key, object.ErrNotFound)
	}
	return s.Store.GetRange(ctx, key, off, n)
}

// TestMergeWithWhatIsGone writes a part of a block, and while the rest of it is fetched the whole block is overwritten and its old place collected: the
// part is merged with what is there now.
func TestMergeWithWhatIsGone(t *testing.T) {
	bucket := newStore(t)
	head := create(t, bucket, 16*mib)
	a := newGateway(t, bucket, gatewayOptions{name: "a"})
	v := a.attach(head, false)
	write(t, v, 0, bytes.Repeat([]byte{1}, 4096))
	if err := v.Detach(context.Background()); err != nil {
		t.Fatal(err)
	}
	a.abandon()

	store := &vanishing{Store: bucket, key: segment.NewID(1, 1).Key()}
	b := newGateway(t, store, gatewayOptions{name: "b"})
	v = b.attach(head, false)
	overwritten := false
	store.before = func() {
		overwritten = true
		write(t, v, 0, bytes.Repeat([]byte{3}, 4096))
	}
	write(t, v, 512, bytes.Repeat([]byte{2}, 512))
	want := bytes.Repeat([]byte{3}, 4096)
	copy(want[512:], bytes.Repeat([]byte{2}, 512))
	expect(t, v, 0, want)
	if !overwritten {
		t.Error("nothing happened while the block was fetched")
	}
	b.stop()
}
