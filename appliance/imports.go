package appliance

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/google/uuid"
)

// importNote says how far the import of an image into a volume is. As long as there is one, the volume holds a part of an
// image, and initiators are not let in.
type importNote struct {
	Image string `json:"image"`           // its identity
	Done  int64  `json:"done_bytes"`      // all before is in the volume, and durable
	State []byte `json:"state,omitempty"` // of who imports
}

// maxImportState bounds State, in bytes.
const maxImportState = 4096

// imports keeps the notes, a file for each volume, <id>.json in one directory. Its methods may be called concurrently.
type imports struct {
	dir string

	mu    sync.Mutex
	notes map[uuid.UUID]importNote
}

// openImports reads the notes in dir, which need not exist.
func openImports(dir string) (*imports, error) {
	i := &imports{dir: dir, notes: map[uuid.UUID]importNote{}}
	files, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the notes of imports: %w", err)
	}
	for _, f := range files {
		id, err := uuid.Parse(f.Name()[:max(0, len(f.Name())-len(".json"))])
		if err != nil || filepath.Ext(f.Name()) != ".json" {
			continue // not one of ours
		}
		body, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return nil, fmt.Errorf("reading the note of an import: %w", err)
		}
		var note importNote
		if err := json.Unmarshal(body, &note); err != nil {
			note = importNote{} // it cannot be resumed; that it is unfinished is known
		}
		i.notes[id] = note
	}
	return i, nil
}

// of returns the note of a volume, if there is one.
func (i *imports) of(id uuid.UUID) (importNote, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	note, ok := i.notes[id]
	return note, ok
}

// set replaces the note of a volume, durably.
func (i *imports) set(id uuid.UUID, note importNote) error {
	body, err := json.Marshal(note)
	if err != nil {
		return fmt.Errorf("encoding the note of an import: %w", err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if err := makeDir(i.dir); err != nil {
		return fmt.Errorf("noting an import: %w", err)
	}
	if err := replaceFile(i.path(id), body); err != nil {
		return fmt.Errorf("noting an import: %w", err)
	}
	i.notes[id] = note
	return nil
}

// forget removes the note of a volume: its import is finished, or what it says is no longer so.
func (i *imports) forget(id uuid.UUID) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if _, ok := i.notes[id]; !ok {
		return nil
	}
	if err := os.Remove(i.path(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the note of an import: %w", err)
	}
	delete(i.notes, id)
	return nil
}

func (i *imports) path(id uuid.UUID) string { return filepath.Join(i.dir, id.String()+".json") }
