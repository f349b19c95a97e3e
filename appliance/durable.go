package appliance

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// replaceFile writes a file whole or not at all. When it returns nil the file survives a loss of power: renameio
// syncs the content, but not the directory that has the name.
func replaceFile(path string, body []byte) error {
	if err := renameio.WriteFile(path, body, 0o600, renameio.IgnoreUmask()); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// makeDir makes a directory whose name survives a loss of power.
func makeDir(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	return syncDir(filepath.Dir(filepath.Clean(path)))
}

// syncDir makes the names in a directory survive a loss of power.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
