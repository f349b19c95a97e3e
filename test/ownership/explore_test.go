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

// explore visits every state that can be reached from the first one, and stops where bad says that something is wrong. Next emits what the
// steps from a state lead to.
func explore[S comparable](first S, next func(s *S, emit func(name string, t S)), bad func(*S) string) *explored {
	seed := maphash.MakeSeed()
	from := map[uint64]origin{maphash.Comparable(seed, first): {}}
	result := &explored{seen: map[string]uint16{"": 0}}
	for level := []S{first}; len(level) > 0 && result.bad == ""; result.deepest++ {
		var below []S
		for i := range level {
			at := maphash.Comparable(seed, level[i])
			next(&level[i], func(name string, t S) {
				result.steps++
				if _, known := result.seen[name]; !known {
					result.seen[name] = uint16(len(result.seen))
				}
				key := maphash.Comparable(seed, t)
				if _, known := from[key]; known || result.bad != "" {
					return
				}
				from[key] = origin{at, result.seen[name]}
				if result.bad = bad(&t); result.bad != "" {
					result.trace = result.path(from, key)
				}
				below = append(below, t)
			})
		}
		level = below
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
