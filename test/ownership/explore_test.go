package ownership

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
)

// explored is the result of an exploration.
type explored struct {
	states, steps int
	deepest       int
	bad           string            // what is violated, if anything is
	trace         []string          // the steps that lead there
	seen          map[string]uint16 // the names of all steps that were made
}

func (e *explored) String() string {
	return fmt.Sprintf("%s:\n  %s", e.bad, strings.Join(e.trace, "\n  "))
}

// origin tells how a state was first reached.
type origin struct {
	from uint64
	step uint16
}

// steps are all that can happen next.
func (m *model) steps(s *state, emit step) {
	for i := range s.gw {
		lost := s.gw[i].at == serving && s.head.epoch != s.gw[i].view.epoch
		who, finds := string(rune('A'+i)), false
		m.gatewaySteps(s, i, func(name string, next state) {
			finds = finds || next.gw[i].at == failed
			emit(who+" "+name, next)
		})
		if lost && !finds {
			t := *s
			t.violate("a gateway has lost the volume, and no look at the bucket tells it")
			emit("nothing", t)
		}
	}
	m.collectorSteps(s, emit)
	m.userSteps(s, emit)
}

// explore visits every state that can be reached, and stops at the first one in which something is wrong.
func (m *model) explore(can budget) *explored {
	seed := maphash.MakeSeed()
	first := state{can: can, gw: [2]gateway{{at: up}, {at: up}}}
	key := maphash.Comparable(seed, first)
	from := map[uint64]origin{key: {}}
	result := &explored{seen: map[string]uint16{"": 0}}
	for level := []state{first}; len(level) > 0 && result.bad == ""; result.deepest++ {
		var next []state
		for i := range level {
			at := maphash.Comparable(seed, level[i])
			m.steps(&level[i], func(name string, t state) {
				result.steps++
				key := maphash.Comparable(seed, t)
				if _, known := from[key]; known || result.bad != "" {
					return
				}
				if _, known := result.seen[name]; !known {
					result.seen[name] = uint16(len(result.seen))
				}
				from[key] = origin{at, result.seen[name]}
				if t.bad != "" {
					result.bad, result.trace = t.bad, result.path(from, key)
				}
				next = append(next, t)
			})
		}
		level = next
	}
	result.states = len(from)
	return result
}

// path returns the steps that lead to a state.
func (e *explored) path(from map[uint64]origin, key uint64) []string {
	names := make([]string, len(e.seen))
	for name, i := range e.seen {
		names[i] = name
	}
	var path []string
	for ; from[key].step != 0; key = from[key].from {
		path = append(path, names[from[key].step])
	}
	slices.Reverse(path)
	return path
}
