package sbc

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"sluice/target/scsi"
)

// TestTokenModel makes tokens, changes data by every way there is, and uses the tokens: each copy is
// of the data as it was when the token was made, or is refused, and it is refused only if the
// data has been written to.
func TestTokenModel(t *testing.T) {
	type made struct {
		token []byte
		disk  int
		lba   uint64
		data  []byte
		live  bool
	}
	rapid.Check(t, func(rt *rapid.T) {
		const sectors, area = 512, 400
		a, b, _ := newPairOf(t, sectors)
		rigs, disks := []*rig{a, b}, []*Device{a.d, b.d}
		a.fill(0, sectors, 1)
		b.fill(0, sectors, 2)
		var tokens []*made
		disk := func(label string) int { return rapid.IntRange(0, 1).Draw(rt, label) }
		extent := func() (lba, n uint64) {
			return rapid.Uint64Range(0, area).Draw(rt, "lba"), rapid.Uint64Range(1, sectors-area).Draw(rt, "n")
		}
		written := func(on int, lba, n uint64) {
			for _, k := range tokens {
				if k.disk == on && lba < k.lba+uint64(len(k.data)/sector) && k.lba < lba+n {
					k.live = false
				}
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"make": func(*rapid.T) {
				on := disk("disk")
				lba, n := extent()
				tokens = append(tokens, &made{rigs[on].token(lba, n), on, lba, bytes.Clone(rigs[on].bytes(lba, n)), true})
			},
			"write": func(*rapid.T) {
				on := disk("disk")
				lba, n := extent()
				rigs[on].good(cdb16(0x8a, 0, lba, uint32(n)), bytes.Repeat([]byte{rapid.Byte().Draw(rt, "value")}, int(n)*sector), 0)
				written(on, lba, n)
			},
			"unmap": func(*rapid.T) {
				on := disk("disk")
				lba, n := extent()
				rigs[on].good(cdb10(0x42, 0, 0, 24), unmapList(lba, n), 0)
				written(on, lba, n)
			},
			"copy": func(*rapid.T) {
				p := piece{from: disk("from"), to: disk("to")}
				p.source, p.n = extent()
				p.place, _ = extent()
				if got := rigs[disk("by")].xcopy(xcopyList(0, disks, p)).verdict(); got != "good" {
					rt.Fatal(got)
				}
				written(p.to, p.place, p.n)
			},
			"use": func(*rapid.T) {
				if len(tokens) == 0 {
					return
				}
				k := tokens[rapid.IntRange(0, len(tokens)-1).Draw(rt, "token")]
				to := disk("to")
				lba, _ := extent()
				n := uint64(len(k.data) / sector)
				alive := k.live
				if alive {
					written(to, lba, n)
				}
				switch got := rigs[to].use(1, useList(k.token, 0, lba, n)).verdict(); {
				case !alive && got == "5/2308":
				case alive && got == "good" && bytes.Equal(rigs[to].bytes(lba, n), k.data): // also onto its own data
				default:
					rt.Fatalf("token of disk %d, %d+%d, alive %v, to disk %d, %d: %s", k.disk, k.lba, n, alive, to, lba, got)
				}
			},
		})
	})
}

// TestTokensUnderWrites copies a range with tokens while it is being overwritten, always as a whole:
// a copy that succeeds is never a mixture.
func TestTokensUnderWrites(t *testing.T) {
	a, b, _ := newPair(t)
	const n = 64
	var stop atomic.Bool
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := byte(1); !stop.Load(); i++ {
			x := command(a.d, a.n, cdb16(0x8a, 0, 0, n), bytes.Repeat([]byte{i}, n*sector), 0)
			a.d.Submit(context.Background(), []*scsi.Command{&x.Command})
			<-x.done
		}
	})
	refused := 0
	for id := range uint32(100) {
		k := a.token(0, n)
		for _, place := range []uint64{1024, 2049} {
			switch got := b.use(id, useList(k, 0, place, n)).verdict(); got {
			case "good":
				if p := b.bytes(place, n); !bytes.Equal(p, bytes.Repeat(p[:1], len(p))) {
					t.Fatal("a mixture")
				}
			case "5/2308":
				refused++
			default:
				t.Fatal(got)
			}
		}
	}
	stop.Store(true)
	writer.Wait()
	t.Logf("%d of 200 copies were refused", refused)
}
