package volume_test

import (
	"testing"

	"sluice/object"
	"sluice/object/memory"
	"sluice/volume"
)

// TestWriterNumbers has two gateways ask for a writer number at once, for two volumes: the second one asks after the first has read the
// counter, and before it has written it.
func TestWriterNumbers(t *testing.T) {
	ctx, store := t.Context(), memory.New()
	claim := func(store object.Store, name string) *volume.Claim {
		h, err := volume.Create(ctx, store, volume.New{Name: name, Size: 16 * mib, Mode: volume.Cached})
		if err != nil {
			t.Fatal(err)
		}
		c, err := volume.NewClaim(ctx, volume.ClaimOptions{Store: store, Volume: h.ID, Gateway: name, Notes: &memNotes{}, Lost: func(err error) { t.Error(err) }})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Take(ctx); err != nil {
			t.Fatal(err)
		}
		return c
	}
	number := func(c *volume.Claim) uint32 {
		n, err := c.Writer(ctx, func(*volume.Head, uint32) {})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	b, second := claim(store, "b"), uint32(0)
	a := claim(object.Fault(store, func(c object.Call) object.Outcome {
		if (c.Op == object.OpPutIf || c.Op == object.OpPut) && c.Key == "writers.json" && second == 0 {
			second = number(b)
		}
		return object.Outcome{}
	}), "a")
	if first := number(a); first == second || second == 0 {
		t.Errorf("the numbers are %d and %d", first, second)
	}
}
