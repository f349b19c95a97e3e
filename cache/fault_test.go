package cache

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"sluice/object"
	"sluice/volume/segment"
)

// A damaged object: the read fails, the error names the object, and nothing of what came is
// kept but frames that are right.
func TestDamagedObject(t *testing.T) {
	ctx := context.Background()
	for _, tc := range []struct {
		name   string
		damage func(body []byte) []byte // nil: the object is missing
		first  bool                     // frame is good
	}{
		{name: "missing"},
		{name: "empty", damage: func(b []byte) []byte { return nil }},
		{name: "header flipped", damage: func(b []byte) []byte { b[100] ^= 4; return b }},
		{name: "header cut", damage: func(b []byte) []byte { return b[:200] }},
		{name: "last frame flipped", first: true, damage: func(b []byte) []byte { b[len(b)-9] ^= 4; return b }},
		{name: "first frame flipped", damage: func(b []byte) []byte { b[len(b)-4*frameBytes+9] ^= 4; return b }},
		{name: "end cut", damage: func(b []byte) []byte { return b[:len(b)-1] }},
		{name: "another segment's", damage: func(b []byte) []byte { b[16] ^= 1; return b }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := newEnv(t, 1<<30)
			e.store(1, 1)
			good, _, err := e.bucket.GetRange(ctx, id(1).Key(), 0, -1)
			if err != nil {
				t.Fatal(err)
			}
			if tc.damage == nil {
				err = e.bucket.Delete(ctx, id(1).Key())
			} else {
				_, err = e.bucket.Put(ctx, id(1).Key(), tc.damage(append([]byte(nil), good...)))
			}
			if err != nil {
				t.Fatal(err)
			}
			err = e.read(1, 0, testBlocks)
			if err == nil || errors.Is(err, errWrong) || !strings.Contains(err.Error(), id(1).Key()) {
				t.Fatalf("read: %v", err)
			}
			for slot := range uint32(testBlocks) {
				if e.holds(1, slot, 1) && e.read(1, slot, 1) != nil {
					t.Errorf("slot %d is present and wrong", slot)
				}
			}
			if e.holds(1, 0, 16) != tc.first || e.holds(1, testBlocks-1, 1) {
				t.Error("other frames than the good ones are present")
			}
			e.check()
			if _, err := e.bucket.Put(ctx, id(1).Key(), good); err != nil {
				t.Fatal(err)
			}
			e.mustRead(1, 0, testBlocks)
			e.check()
		})
	}
}

// Each request fails once, in each of the ways in which a request can: every read is right
// or says that it failed, and the next one is right.
func TestEveryRequestFails(t *testing.T) {
	injected := errors.New("injected")
	for name, outcome := range map[string]object.Outcome{
		"error":     {Err: injected},
		"lost":      {Lost: true},
		"cut":       {Mutate: object.Truncate(1)},
		"empty":     {Mutate: func([]byte) []byte { return nil }},
		"flipped":   {Mutate: object.FlipBit(12345)},
		"too long":  {Mutate: func(b []byte) []byte { return append(b, 1) }},
		"exchanged": {Mutate: func(b []byte) []byte { return b[len(b)/2:] }},
	} {
		t.Run(name, func(t *testing.T) {
			for n := 0; ; n++ {
				e := newEnv(t, 5*testBytes)
				e.store(1, 3)
				var fired atomic.Bool
				calls := 0
				e.fault = func(object.Call) object.Outcome {
					if calls++; calls == n+1 {
						fired.Store(true)
						return outcome
					}
					return object.Outcome{}
				}
				failed := 0
				for seg := 1; seg <= 3; seg++ {
					for _, r := range [][2]uint32{{0, 1}, {20, 1}, {10, 50}} {
						err := e.read(seg, r[0], r[1])
						if errors.Is(err, errWrong) {
							t.Fatalf("request %d: %v", n, err)
						}
						if err != nil {
							failed++
							e.mustRead(seg, r[0], r[1])
						}
					}
				}
				e.check()
				if !fired.Load() {
					if n < 6 {
						t.Fatalf("only %d requests", n)
					}
					return
				}
				if failed > 1 {
					t.Errorf("request %d: %d reads failed for one fault", n, failed)
				}
			}
		})
	}
}

// Readers, writers, the uploader, eviction, checksum failures and faults, all at once, against
// what the segments hold by definition.
func TestStress(t *testing.T) {
	const readers, rounds, known = 4, 300, 24
	e := newEnv(t, 3*segment.FileSize)
	e.store(1, known)
	var calls atomic.Int64
	injected := errors.New("injected")
	e.fault = func(object.Call) object.Outcome {
		if calls.Add(1)%17 == 0 {
			return object.Outcome{Err: injected}
		}
		return object.Outcome{}
	}
	var all sync.WaitGroup
	for r := range readers {
		all.Go(func() {
			x := uint64(r + 1)
			next := func(n uint64) uint64 { x ^= x << 13; x ^= x >> 7; x ^= x << 17; return x % n }
			for range rounds {
				n, slot := int(next(known))+1, uint32(next(testBlocks))
				count := uint32(next(uint64(testBlocks-slot))) + 1
				switch next(8) {
				case 0:
					e.c.Invalidate(id(n), slot, count)
				case 1:
					if err := e.c.Prefetch(context.Background(), id(n), slot, count); err != nil && !errors.Is(err, injected) {
						t.Error(err)
					}
				case 2:
					if err := e.c.Discard(id(n)); err != nil {
						t.Error(err)
					}
				case 3:
					if err := e.c.save(); err != nil {
						t.Error(err)
					}
				default:
					if err := e.read(n, slot, count); err != nil && !errors.Is(err, injected) {
						t.Errorf("segment %d, %d slots from %d: %v", n, count, slot, err)
					}
				}
			}
		})
	}
	for w := range 2 { // two volumes write, send, and read what they wrote
		all.Go(func() {
			for i := range 12 {
				n := known + 1 + 2*i + w
				e.create(n, false)
				if err := e.read(n, 0, testBlocks); err != nil {
					t.Errorf("unsent segment %d: %v", n, err)
				}
				e.store(n, n)
				if err := e.c.Sent(id(n)); err != nil {
					t.Error(err)
				}
				if err := e.read(n, 0, testBlocks); err != nil && !errors.Is(err, injected) {
					t.Errorf("sent segment %d: %v", n, err)
				}
			}
		})
	}
	all.Wait()
	e.fault = nil
	if st := e.c.Stats(); st.Bytes > st.Budget || st.Evicted == 0 {
		t.Errorf("%+v", st)
	}
	e.check()
	for n := 1; n <= known+24; n++ {
		e.mustRead(n, 0, testBlocks)
	}
	e.check()
	e.close()
	e.open(3 * segment.FileSize)
	e.check()
	for n := 1; n <= known+24; n++ {
		e.mustRead(n, 0, testBlocks)
	}
	e.check()
}

// An object that is damaged on its way, once or twice, is asked for again; one that stays damaged is not asked for for ever.
func TestDamagedOnItsWay(t *testing.T) {
	for damaged := 1; damaged <= 3; damaged++ {
		e := newEnv(t, 1<<30)
		e.store(1, 1)
		gets := 0
		e.fault = func(c object.Call) object.Outcome {
			if c.Op != object.OpGetRange {
				return object.Outcome{}
			}
			if gets++; gets <= damaged {
				return object.Outcome{Mutate: object.FlipBit(100 * 8)}
			}
			return object.Outcome{}
		}
		err := e.read(1, 0, testBlocks)
		if (err == nil) != (damaged < 3) || errors.Is(err, errWrong) {
			t.Errorf("damaged %d times: %v", damaged, err)
		}
	}
}
