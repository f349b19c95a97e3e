package stored_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"sluice/object/memory"
	"sluice/volume"
)

// BenchmarkWrite writes to a stored volume, and to a plain file as it does: what lies between the two is the price of the marks.
// Every chunk was marked before, as in a volume that has been in use for a while.
func BenchmarkWrite(b *testing.B) {
	const bytes = 256 * mib
	ctx, store := context.Background(), memory.New()
	g := newGateway(b, store, b.TempDir(), "gw")
	defer g.stop()
	v := g.open(create(b, store, volume.New{Size: bytes}).ID)
	defer closeVolume(b, v)
	f, err := os.Create(filepath.Join(b.TempDir(), "plain"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	into := map[string]func(p []byte, off int64) error{
		"file": func(p []byte, off int64) error {
			_, err := f.WriteAt(p, off)
			return err
		},
	}
	bufs, offs := make([][]byte, 1), make([]int64, 1)
	into["volume"] = func(p []byte, off int64) error {
		bufs[0], offs[0] = p, off
		return v.Write(ctx, bufs, offs, true)
	}
	for _, where := range []string{"file", "volume"} {
		p := make([]byte, mib)
		for i := range p {
			p[i] = byte(i)
		}
		for off := int64(0); off < bytes; off += mib { // no sparse file, no chunk without a mark
			if err := into[where](p, off); err != nil {
				b.Fatal(err)
			}
		}
		for _, n := range []int64{4096, mib} {
			b.Run(fmt.Sprintf("%dKiB/%s", n>>10, where), func(b *testing.B) {
				b.SetBytes(n)
				b.ReportAllocs()
				for off := int64(0); b.Loop(); off = (off + n) % bytes {
					if n == 4096 {
						off = rand.Int64N(bytes/n) * n
					}
					if err := into[where](p[:n], off); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
