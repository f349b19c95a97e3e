package stored

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	"sluice/object/record"
	"sluice/volume"
)

const stateFormat = 1

// state is volume.json: what a gateway knows of a volume whose data it has.
type state struct {
	Format int       `json:"format"`
	Volume uuid.UUID `json:"volume"`
	// Path is the data file or device, if it is not "data" in the volume's directory. Preserve says that it had the
	// volume's first content.
	Path     string `json:"path,omitempty"`
	Preserve bool   `json:"preserve,omitempty"`
	Rate     int64  `json:"fill_bytes_per_second,omitempty"` // bound on fetching in the background; 0: none

	Begun    bool   `json:"begun"`    // the data file is set up
	Complete bool   `json:"complete"` // all of the volume is in it
	Epoch    uint64 `json:"epoch"`    // of the attachment that served it last
	Boot     string `json:"boot"`     // of the machine, then
	Clean    bool   `json:"clean"`    // it was closed in order
	// Head is what the head was then, to be served by while the bucket is away.
	Head *volume.Head `json:"head,omitempty"`
}

func statePath(dir string) string { return filepath.Join(dir, "volume.json") }

// loadState returns nil if there is none.
func loadState(dir string, id uuid.UUID) (*state, error) {
	body, err := os.ReadFile(statePath(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the state of a stored volume: %w", err)
	}
	var st state
	if err := record.Decode(body, &st); err != nil {
		return nil, fmt.Errorf("reading %s: %w", statePath(dir), err)
	}
	if st.Format > stateFormat {
		return nil, fmt.Errorf("%s has format %d and this sluice knows formats up to %d: use a newer sluice", statePath(dir), st.Format, stateFormat)
	}
	if st.Format < 1 || st.Volume != id {
		return nil, fmt.Errorf("%s is not of volume %s", statePath(dir), id)
	}
	return &st, nil
}

// save replaces volume.json durably.
func (st *state) save(dir string) error {
	body, err := record.Encode(st)
	if err != nil {
		return fmt.Errorf("encoding the state of a stored volume: %w", err)
	}
	if err := replaceFile(statePath(dir), body); err != nil {
		return fmt.Errorf("saving the state of a stored volume: %w", err)
	}
	return nil
}

// fileNotes are the volume.Notes of a volume, in a file of its directory: a nonce to a line.
type fileNotes string

func (n fileNotes) path() string { return filepath.Join(string(n), "heads") }

// Load implements volume.Notes.
func (n fileNotes) Load() ([]string, error) {
	body, err := os.ReadFile(n.path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("loading the notes of the head: %w", err)
	}
	return strings.Fields(string(body)), nil
}

// Save implements volume.Notes.
func (n fileNotes) Save(nonces []string) error {
	if err := replaceFile(n.path(), []byte(strings.Join(nonces, "\n")+"\n")); err != nil {
		return fmt.Errorf("noting the head: %w", err)
	}
	return nil
}

// replaceFile writes a file so that after a crash it is the old one or the new one.
func replaceFile(path string, body []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(body)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(path))
}

// makeDir makes the directory of a volume in that of all of them, which may be missing, too; both survive a loss of power.
func makeDir(own string) error {
	if err := os.MkdirAll(own, 0o700); err != nil {
		return err
	}
	all := filepath.Dir(own)
	return errors.Join(syncDir(all), syncDir(filepath.Dir(all)))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Placement says where the data of a new stored volume is.
type Placement struct {
	// Path of a file or block device; empty: a file in the gateway's data directory.
	Path string
	// Preserve takes what is there as the volume's first content. Without it, a file or device that is not empty is refused.
	Preserve bool
	// Rate bounds, in bytes a second, how fast the content of a volume that begins as a snapshot is fetched in the background; 0: not at all.
	Rate int64
}

// Place notes where the data of a volume that was just created shall be on this gateway: Open sets it up. Of
// dir see Options.
func Place(dir string, id uuid.UUID, p Placement) error {
	own := filepath.Join(dir, id.String())
	if err := makeDir(own); err != nil {
		return fmt.Errorf("placing a stored volume: %w", err)
	}
	if p.Path != "" && !filepath.IsAbs(p.Path) {
		return fmt.Errorf("placing a stored volume: %s is not an absolute path", p.Path)
	}
	st := &state{Format: stateFormat, Volume: id, Path: p.Path, Preserve: p.Preserve, Rate: p.Rate}
	return st.save(own)
}

// Unplace forgets a volume that was placed and could not be opened. Data in a place that the user chose is not touched.
func Unplace(dir string, id uuid.UUID) error {
	if err := os.RemoveAll(filepath.Join(dir, id.String())); err != nil {
		return fmt.Errorf("removing a stored volume: %w", err)
	}
	return nil
}

// Owned returns the heads, as they were when they were last seen, of the stored volumes that gateway served.
func Owned(dir, gateway string) ([]*volume.Head, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking for stored volumes: %w", err)
	}
	var heads []*volume.Head
	for _, e := range entries {
		id, err := uuid.Parse(e.Name())
		if err != nil {
			continue // moved aside
		}
		st, err := loadState(filepath.Join(dir, e.Name()), id)
		if err != nil {
			return nil, err
		}
		if st != nil && st.Begun && st.Head != nil && st.Head.Owner != nil && st.Head.Owner.Gateway == gateway {
			heads = append(heads, st.Head)
		}
	}
	return heads, nil
}
