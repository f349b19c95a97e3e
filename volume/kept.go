package volume

import (
	"context"
	"encoding/json"
	"fmt"
)

// SetKept keeps something for initiators, under the name of what it is, so that whichever gateway serves the volume next has it: a JSON value that
// means something to the target only, or none, to keep it no longer. When it returns nil the bucket has it.
func (v *Volume) SetKept(ctx context.Context, what string, state []byte) error {
	if v.claim.Head().Kept[what] == nil && len(state) == 0 {
		return nil
	}
	err := v.claim.Update(ctx, func(h *Head) {
		if len(state) == 0 {
			delete(h.Kept, what)
			return
		}
		if h.Kept == nil {
			h.Kept = map[string]json.RawMessage{}
		}
		h.Kept[what] = state
	})
	if err != nil {
		return fmt.Errorf("keeping the %s in the volume's head: %w", what, err)
	}
	return nil
}

// Kept returns what SetKept was given last, or nothing.
func (v *Volume) Kept(what string) []byte { return v.claim.Head().Kept[what] }
