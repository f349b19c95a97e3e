package appliance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestStages opens four stages of which the n-th fails to open, and another to close, for
// every n: what was opened is closed, in the reverse order.
func TestStages(t *testing.T) {
	for broken := range 5 {
		var did []string
		all := make([]stage, 4)
		for i := range all {
			name := fmt.Sprint(i)
			all[i] = stage{
				name: name,
				open: func(context.Context) error {
					if i == broken {
						return errors.New("does not open")
					}
					did = append(did, "open "+name)
					return nil
				},
				close: func(context.Context) error {
					did = append(did, "close "+name)
					if i == 1 {
						return errors.New("does not close")
					}
					return nil
				},
			}
		}
		all[2].close = nil // nothing to undo
		s := &stages{log: slog.New(slog.DiscardHandler)}
		err := s.open(t.Context(), all)
		if (err != nil) != (broken < len(all)) {
			t.Errorf("stage %d fails, and open returns %v", broken, err)
		}
		if err == nil {
			err = s.close(t.Context())
		}
		if broken != 0 && broken != 1 && err == nil {
			t.Errorf("stage %d fails: that stage 1 did not close was lost", broken)
		}
		var want []string
		for i := range min(broken, len(all)) {
			want = append(want, fmt.Sprint("open ", i))
		}
		for i := min(broken, len(all)) - 1; i >= 0; i-- {
			if i != 2 {
				want = append(want, fmt.Sprint("close ", i))
			}
		}
		if diff := cmp.Diff(want, did); diff != "" {
			t.Errorf("stage %d fails:\n%s", broken, diff)
		}
		if s.close(t.Context()) != nil {
			t.Error("closing twice did something")
		}
	}
}

func TestStagesCloseAfterTheEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := &stages{log: slog.New(slog.DiscardHandler)}
	var closedWith error
	_ = s.open(ctx, []stage{
		{"first", func(context.Context) error { return nil }, func(ctx context.Context) error { closedWith = ctx.Err(); return nil }},
		{"second", func(context.Context) error { cancel(); return context.Canceled }, nil},
	})
	if closedWith != nil {
		t.Errorf("a stage had to close with a context that had ended: %v", closedWith)
	}
}
