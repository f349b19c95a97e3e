package appliance

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/uuid"
)

// maxKept is the greatest length of a file in bytes; there are bounds on how many initiators
// a volume registers, and on how many mode pages it has.
const maxKept = 1 << 20

// kept is a file of what initiators asked a volume to keep, so that it survives restarts and losses
// of power: its persistent reservations (SPC-4 5.13.5), or its saved mode pages (SPC-4 5.11).
type kept struct{ what, path string }

func reservationsOf(dir string, id uuid.UUID) *kept {
	return &kept{what: "persistent reservations", path: filepath.Join(dir, id.String())}
}

func modesOf(dir string, id uuid.UUID) *kept {
	return &kept{what: "mode pages", path: filepath.Join(dir, id.String())}
}

// Load returns what was saved last, or nothing.
func (r *kept) Load() ([]byte, error) {
	info, err := os.Stat(r.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && info.Size() > maxKept {
		err = fmt.Errorf("%s has %d bytes, which cannot be", r.path, info.Size())
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", r.what, err)
	}
	state, err := os.ReadFile(r.path)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", r.what, err)
	}
	return state, nil
}

// Save replaces what was saved before; when it returns, that survives a loss of power.
func (r *kept) Save(state []byte) error {
	if err := makeDir(filepath.Dir(r.path)); err != nil {
		return fmt.Errorf("saving %s: %w", r.what, err)
	}
	if err := replaceFile(r.path, state); err != nil {
		return fmt.Errorf("saving %s: %w", r.what, err)
	}
	return nil
}

// forget drops them: the volume leaves this gateway.
func (r *kept) forget() error {
	if err := os.Remove(r.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("dropping %s: %w", r.what, err)
	}
	return nil
}
