package linear

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"sluice/test/initiator"
)

// event is what a command did to one sector.
type event struct {
	client     int
	write      bool
	number     uint64 // that was written or read
	maybe      bool   // the write's answer was lost with the daemon
	call, done int64  // by the clock
}

// clock tells what was before what: each look at it is later than all others before.
type clock struct{ now atomic.Int64 }

func (c *clock) tick() int64 { return c.now.Add(1) }

// histories are what happened to sectors, by their places. They are of one client, or, when all are at rest, of all.
type histories map[int64][]event

func (h histories) add(first int64, sectors int, e event) {
	for i := range int64(sectors) {
		h[first+i] = append(h[first+i], e)
	}
}

// register is a sector. The initial state is given.
func register(initial uint64) porcupine.Model {
	model := porcupine.NondeterministicModel{
		Init: func() []any { return []any{initial} },
		Step: func(state, input, _ any) []any {
			switch e := input.(event); {
			case !e.write && e.number == state:
				return []any{state}
			case !e.write:
				return nil
			case e.maybe:
				return []any{state, e.number}
			default:
				return []any{e.number}
			}
		},
	}
	return model.ToModel()
}

// checkTime is how long the search for an order may take, for one sector; it takes milliseconds.
const checkTime = time.Minute

// explain returns an error if there is no order in which a sector's history makes sense.
func explain(initial uint64, events []event) error {
	history := make([]porcupine.Operation, len(events))
	for i, e := range events {
		history[i] = porcupine.Operation{ClientId: e.client, Input: e, Call: e.call, Return: e.done}
	}
	model := register(initial)
	result := porcupine.CheckOperationsTimeout(model, history, checkTime)
	if result == porcupine.Ok {
		return nil
	}
	return fmt.Errorf("its history is %s:\n%s", result, tell(initial, events))
}

// tell prints the end of a history, up to the first read of what cannot have been there, if that is how simple it is.
func tell(initial uint64, events []event) string {
	slices.SortFunc(events, func(a, b event) int { return cmp.Compare(a.call, b.call) })
	var b strings.Builder
	fmt.Fprintf(&b, "it began as %d\n", initial)
	for _, e := range events[max(0, len(events)-60):] {
		what := "read "
		if e.write {
			what = "wrote"
		}
		fmt.Fprintf(&b, "client %d, from %d to %d: %s %d", e.client, e.call, e.done, what, int64(e.number))
		if e.maybe {
			b.WriteString(", perhaps")
		}
		b.WriteString("\n")
	}
	return b.String()
}

// check explains the histories of all sectors. Initial has what they began as; sectors that it does not
// have were zeros.
func (h histories) check(initial map[int64]uint64) error {
	for place, events := range h {
		for _, e := range events {
			if !e.write && e.number == initiator.Torn {
				return fmt.Errorf("sector %d: client %d read what nobody wrote", place, e.client)
			}
		}
		if err := explain(initial[place], events); err != nil {
			return fmt.Errorf("sector %d: %w", place, err)
		}
	}
	return nil
}

// TestRegister: the model says of small histories what anybody would.
func TestRegister(t *testing.T) {
	wrote := func(n uint64, call, done int64) event { return event{write: true, number: n, call: call, done: done} }
	read := func(n uint64, call, done int64) event { return event{number: n, call: call, done: done} }
	perhaps := func(n uint64, call, done int64) event {
		return event{write: true, number: n, maybe: true, call: call, done: done}
	}
	for _, test := range []struct {
		name   string
		events []event
		fine   bool
	}{
		{"what was written", []event{wrote(1, 1, 2), read(1, 3, 4)}, true},
		{"the older", []event{wrote(1, 1, 2), wrote(2, 3, 4), read(1, 5, 6)}, false},
		{"nothing", []event{wrote(1, 1, 2), read(0, 3, 4)}, false},
		{"before and after", []event{wrote(1, 1, 6), read(0, 2, 3), read(1, 4, 5)}, true},
		{"after and before", []event{wrote(1, 1, 6), read(1, 2, 3), read(0, 4, 5)}, false},
		{"two at once, one order", []event{wrote(1, 1, 4), wrote(2, 2, 3), read(1, 5, 6), read(1, 7, 8)}, true},
		{"two at once, both orders", []event{wrote(1, 1, 4), wrote(2, 2, 3), read(1, 5, 6), read(2, 7, 8)}, false},
		{"killed, there", []event{perhaps(1, 1, 2), read(1, 3, 4)}, true},
		{"killed, not there", []event{perhaps(1, 1, 2), read(0, 3, 4)}, true},
		{"killed, there later", []event{perhaps(1, 1, 2), read(0, 3, 4), read(1, 5, 6)}, false},
		{"killed, gone later", []event{perhaps(1, 1, 2), read(1, 3, 4), read(0, 5, 6)}, false},
	} {
		if err := explain(0, test.events); (err == nil) != test.fine {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}
