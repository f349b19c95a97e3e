package stored_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/object/memory"
	"sluice/volume"
	"sluice/volume/stored"
)

// TestMissingFiles takes one file at a time away from a volume that has begun. None is made anew in silence: without its marks a
// snapshot would miss what was written, and without its data it would be another volume.
func TestMissingFiles(t *testing.T) {
	store := memory.New()
	g := newGateway(t, store, t.TempDir(), "gw")
	defer g.stop()
	whole := create(t, store, volume.New{Name: "whole", Size: size})
	v := g.open(whole.ID)
	model := bytes.Repeat([]byte("missing"), size/7+1)[:size]
	write(t, v, 0, model)
	root := finish(t, cutNow(t, v))
	write(t, v, 0, model[1:513])
	closeVolume(t, v)
	// A volume of which only a part is here yet.
	restored := create(t, store, volume.New{Name: "restored", Size: size, Root: &root})
	closeVolume(t, g.open(restored.ID))

	for _, c := range []struct {
		head *volume.Head
		name string
	}{{whole, "data"}, {whole, "dirty.0"}, {whole, "dirty.1"}, {whole, "intents"}, {restored, "data"}, {restored, "present"}} {
		t.Run(c.head.Name+" "+c.name, func(t *testing.T) {
			path := filepath.Join(g.opts.Dir, c.head.ID.String(), c.name)
			if err := os.Rename(path, path+".away"); err != nil {
				t.Fatal(err)
			}
			v, err := stored.Open(t.Context(), c.head.ID, g.opts, false)
			if err == nil {
				closeVolume(t, v)
				t.Fatal("it is served")
			}
			if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "no such file") {
				t.Errorf("it does not say what is missing: %v", err)
			}
			if _, err := os.Stat(path); err == nil {
				t.Error("the file was made anew")
			}
			if err := os.Rename(path+".away", path); err != nil {
				t.Fatal(err)
			}
			closeVolume(t, g.open(c.head.ID)) // no harm was done
		})
	}
}
