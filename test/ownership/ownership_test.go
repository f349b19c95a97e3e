package ownership

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// scenarios say how much happens. Together they have all that the model knows.
var scenarios = map[string]budget{
	"takeovers": {attach: 3, write: 2, root: 1, crash: 1, checkpoint: 1},
	"again":     {attach: 3, write: 1, root: 1, crash: 1, resend: 1, renew: 1},
	"answers":   {attach: 2, write: 2, root: 1, lost: 2, renew: 1},
	"collector": {attach: 2, write: 2, root: 2, pass: 2},
	"snapshot":  {attach: 2, write: 2, root: 2, pass: 2, snap: 1},
	"clone":     {attach: 1, write: 2, root: 2, pass: 2, snap: 1, clone: 1},
}

// deep are those of SLUICE_MODEL=deep: three minutes, up to 2 GB.
var deep = map[string]budget{
	"takeovers": {attach: 4, write: 2, root: 1, crash: 1, checkpoint: 1},
	"again":     {attach: 3, write: 2, root: 1, crash: 1, resend: 1, renew: 1, checkpoint: 1},
	"answers":   {attach: 3, write: 2, root: 1, crash: 1, lost: 2, renew: 1},
	"collector": {attach: 2, write: 3, root: 2, crash: 1, pass: 2},
	"snapshot":  {attach: 2, write: 2, root: 2, crash: 1, lost: 1, pass: 2, snap: 1},
	"clone":     {attach: 2, write: 2, root: 2, pass: 2, snap: 1, clone: 1},
}

// TestModel visits every state of the protocol within some bounds, and finds nothing wrong in any.
func TestModel(t *testing.T) {
	everyState(t, scenarios, deep, new(model).explore,
		"is killed", "arrives late", "answer lost", "by force", "does not take the epoch", "finds the volume lost", "sees that the volume is lost",
		"gives the volume up", "did not give the volume up", "deletes segment", "deletes the root", "removes the record", "the clone is there",
		"the clone's snapshot is gone", "renews", "checkpoints", "replays", "knows a span already",
	)
}

// everyState explores each of the scenarios, or of those for SLUICE_MODEL=deep, and wants steps like some to be made: those that never are would show
// nothing.
func everyState[B any](t *testing.T, short, deep map[string]B, explore func(B) *explored, steps ...string) {
	t.Helper()
	all := short
	if os.Getenv("SLUICE_MODEL") == "deep" {
		all = deep
	}
	seen, ran := map[string]uint16{}, 0
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t.Run(name, func(t *testing.T) {
			e := explore(all[name])
			t.Logf("%d states, %d steps between them, up to %d from the beginning", e.states, e.steps, e.deepest)
			maps.Copy(seen, e.seen)
			ran++
			if e.bad != "" {
				t.Fatal(e)
			}
		})
	}
	if ran < len(all) {
		return // only some were asked for
	}
	for _, step := range steps {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(seen)), func(name string) bool { return strings.Contains(name, step) }) {
			t.Errorf("no step is like %q", step)
		}
	}
}
