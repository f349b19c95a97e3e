package ownership

import (
	"strings"
	"testing"
)

// TestMutations takes mechanisms out of the model, and looks for what goes wrong without them.
func TestMutations(t *testing.T) {
	for _, c := range []struct {
		name     string
		without  mechanisms
		scenario string
		bad      string
	}{
		{"the head is changed without If-Match", mechanisms{ifMatch: true}, "takeovers", "lost its epoch publishes"},
		{"who finds the head changed goes on", mechanisms{rereading: true}, "takeovers", "lost its epoch publishes"},
		{"attaching does not raise the epoch", mechanisms{epochRaise: true}, "takeovers", "in one epoch"},
		{"nobody looks at the head", mechanisms{watching: true}, "takeovers", "no look at the bucket tells it"},
		{"writer numbers are given again", mechanisms{counter: true}, "takeovers", "is given to two segments"},
		{"a local map of an earlier epoch is believed", mechanisms{epochOfMap: true}, "takeovers", "a history is recovered that nobody wrote"},
		{"the published position goes back", mechanisms{forward: true}, "again", "published goes back"},
		{"a root does not wait for its segments", mechanisms{uploadFirst: true}, "takeovers", "the root of the head, or what it names, is gone"},
		{"a detach without an answer is taken for a failed one", mechanisms{settling: true}, "answers", "may relieve without force"},
		{"a snapshot is complete without a last look at the head", mechanisms{confirming: true}, "snapshot", "a complete snapshot"},
		{"garbage is deleted in the pass that finds it", mechanisms{secondPass: true}, "clone", "a complete snapshot"},
		{"and the heads are read once", mechanisms{secondPass: true, headsAgain: true}, "clone", "what a clone names is gone"},
		{"a clone does not look for its snapshot again", mechanisms{cloneCheck: true}, "clone", "what a clone names is gone"},
		{"roots that are new are garbage", mechanisms{newRoots: true}, "collector", "a root is deleted that is to be published"},
		{"segments behind the root are garbage", mechanisms{unsealed: true}, "collector", "a segment is deleted that the owner has uploaded"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &model{c.without}
			e := m.explore(scenarios[c.scenario])
			if e.bad == "" || !strings.Contains(e.bad, c.bad) {
				t.Fatalf("%d states, and found %q instead of %q", e.states, e.bad, c.bad)
			}
			t.Logf("after %d states: %s", e.states, e)
		})
	}
}
