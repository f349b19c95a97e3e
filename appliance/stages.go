package appliance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
)

// stage is one step of opening a gateway, with what undoes it.
type stage struct {
	name  string
	open  func(ctx context.Context) error
	close func(ctx context.Context) error // nil if there is nothing to undo
}

// stages are opened in order and closed in the reverse order.
type stages struct {
	log    *slog.Logger
	opened []stage
}

// open runs the steps until one fails; then those before it are closed again.
func (s *stages) open(ctx context.Context, all []stage) error {
	for _, st := range all {
		if err := st.open(ctx); err != nil {
			err = fmt.Errorf("%s: %w", st.name, err)
			return errors.Join(err, s.close(context.WithoutCancel(ctx)))
		}
		s.log.Debug("opened", "stage", st.name)
		s.opened = append(s.opened, st)
	}
	return nil
}

// close undoes all steps, also if some fail: each may hold data that is to be kept.
func (s *stages) close(ctx context.Context) error {
	var failed error
	for _, st := range slices.Backward(s.opened) {
		if st.close == nil {
			continue
		}
		if err := st.close(ctx); err != nil {
			failed = errors.Join(failed, fmt.Errorf("closing %s: %w", st.name, err))
			continue
		}
		s.log.Debug("closed", "stage", st.name)
	}
	s.opened = nil
	return failed
}
