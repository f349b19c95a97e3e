package crashfs

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Tree is what is on a disk. Paths are relative, with slashes.
type Tree struct {
	Dirs  []string // each before what is in it
	Files map[string]*content
}

// NewTree returns an empty disk.
func NewTree() *Tree { return &Tree{Files: map[string]*content{}} }

// paths returns all paths, each directory before what is in it.
func (t *Tree) paths() []string {
	return slices.Sorted(func(yield func(string) bool) {
		for _, d := range t.Dirs {
			if !yield(d) {
				return
			}
		}
		maps.Keys(t.Files)(yield)
	})
}

func split(path string) (dir, name string) {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i], path[i+1:]
	}
	return ".", path
}

// Save writes the tree into an empty directory.
func (t *Tree) Save(dir string) error {
	for _, path := range t.paths() {
		to := filepath.Join(dir, filepath.FromSlash(path))
		if c := t.Files[path]; c != nil {
			if err := c.save(to); err != nil {
				return err
			}
			continue
		}
		if err := os.Mkdir(to, 0o700); err != nil {
			return fmt.Errorf("saving a directory of a crashed disk: %w", err)
		}
	}
	return nil
}
