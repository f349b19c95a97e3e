package scsi

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
)

// TestSavedModePages saves pages, changes them again, resets the unit, and starts it anew.
func TestSavedModePages(t *testing.T) {
	kept := &memory{}
	r := newRigWith(t, nil, kept)
	n := r.nexus("a")
	sel := func(flags byte, pages ...[]byte) {
		t.Helper()
		list := join(append([][]byte{{0, 0, 0, 0}}, pages...)...)
		r.expect(n, []byte{0x15, 0x10 | flags, 0, 0, byte(len(list)), 0}, list, "good")
	}
	saved := func() []byte { return r.expect(n, []byte{0x1a, 8, 0xc8, 0, 255, 0}, nil, "good").In[4:] }
	withPS := func(page []byte) []byte { page[0] |= 0x80; return page }

	if got := saved(); !bytes.Equal(got, withPS(caching(4))) {
		t.Errorf("saved before anything was: % x", got)
	}
	sel(0, caching(0))
	if got := saved(); !bytes.Equal(got, withPS(caching(4))) {
		t.Errorf("saved without being asked: % x", got)
	}
	sel(1, control(6, 8)) // saves the caching page as it is now, too
	if got := saved(); !bytes.Equal(got, withPS(caching(0))) {
		t.Errorf("saved: % x", got)
	}
	sel(0, caching(4), control(2, 0))
	r.u.Reset(nil)
	for _, when := range []string{"a reset", "a restart"} {
		if c, d, w := r.u.Mode(0x08, 0), r.u.Mode(0x0a, 0), r.u.Mode(0x0a, 2); c != 0 || d != 6 || w != 8 {
			t.Errorf("after %s: %x %x %x", when, c, d, w)
		}
		r = newRigWith(t, nil, kept)
		n = r.nexus("a")
	}
	if x := r.expect(n, []byte{0xff, 0, 0, 0, 0, 0}, nil, "5/2000"); x.Sense[0] != 0x72 {
		t.Error("the saved D_SENSE has no effect")
	}
}

// failing is a Registry that cannot save.
type failing struct{ memory }

func (*failing) Save(context.Context, []byte) error { return errors.New("no room") }

// TestSavingFails: the initiator learns of it, and what is saved is as it was.
func TestSavingFails(t *testing.T) {
	r := newRigWith(t, nil, &failing{})
	n := r.nexus("a")
	r.expect(n, []byte{0x15, 0x11, 0, 0, 24, 0}, join([]byte{0, 0, 0, 0}, caching(0)), "4/4400")
	if got := r.expect(n, []byte{0x1a, 8, 0xc8, 0, 255, 0}, nil, "good").In[6]; got != 4 {
		t.Errorf("saved: %x", got)
	}
}

// FuzzSavedPages: whatever is loaded, a unit has whole pages with nothing changed that cannot be
// changed, or does not start.
func FuzzSavedPages(f *testing.F) {
	f.Add([]byte(`[{"code":8,"subpage":0,"value":"AAAAAAAAAAAAAAAAAAAAAAAA"},{"code":10,"value":"//////////////8="}]`))
	f.Add([]byte(`[{"code":8,"value":null},{"code":999}]`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		pages, err := parseSavedPages(body)
		if err != nil {
			return
		}
		p := &ModePage{Code: 8, Default: []byte{4, 0xf0}, Changeable: []byte{0x0f, 0}}
		u := &Unit{pages: []*ModePage{p}}
		u.useSaved(pages)
		if len(p.saved) != 2 || p.saved[0]&^0x0f != 0 || p.saved[1] != 0xf0 || !slices.Equal(p.Default, []byte{4, 0xf0}) {
			t.Errorf("% x", p.saved)
		}
	})
}
