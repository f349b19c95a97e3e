package appliance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/uuid"

	"sluice/target/sbc"
	"sluice/target/scsi"
)

// What initiators can ask a volume to keep: its persistent reservations (SPC-4 5.12.5), and its saved mode pages (SPC-4 5.11).
const (
	keptReservations = "reservations"
	keptModes        = "modes"
)

// maxKept is the greatest length of a file in bytes; there are bounds on how many initiators
// a volume registers, and on how many mode pages it has.
const maxKept = 1 << 20

// keptFile is a file of what initiators asked a volume to keep, so that it survives restarts and losses
// of power. It implements scsi.Registry.
type keptFile struct{ what, path string }

// keptOf returns the file of a volume in a data directory.
func keptOf(dir, what string, id uuid.UUID) *keptFile {
	return &keptFile{what: what, path: filepath.Join(dir, what, id.String())}
}

// Load returns what was saved last, or nothing.
func (k *keptFile) Load() ([]byte, error) {
	info, err := os.Stat(k.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && info.Size() > maxKept {
		err = fmt.Errorf("%s has %d bytes, which cannot be", k.path, info.Size())
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", k.what, err)
	}
	state, err := os.ReadFile(k.path)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", k.what, err)
	}
	return state, nil
}

// Save replaces what was saved before; when it returns, that survives a loss of power.
func (k *keptFile) Save(_ context.Context, state []byte) error {
	if err := makeDir(filepath.Dir(k.path)); err != nil {
		return fmt.Errorf("saving %s: %w", k.what, err)
	}
	if err := replaceFile(k.path, state); err != nil {
		return fmt.Errorf("saving %s: %w", k.what, err)
	}
	return nil
}

// forget drops it: the volume leaves this gateway.
func (k *keptFile) forget() error {
	if err := os.Remove(k.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("dropping %s: %w", k.what, err)
	}
	return nil
}

// keeper is a volume that can keep things for initiators wherever it is served; see volume.Volume.
type keeper interface {
	Kept(what string) []byte
	SetKept(ctx context.Context, what string, state []byte) error
}

// keptWith is what a volume keeps for initiators if another gateway can take it over: it is then with the volume. Otherwise it is in
// a file of this gateway, for which the bucket need not be there; but what once came with the volume stays with it until it is nothing.
type keptWith struct {
	*keptFile
	volume keeper
	always bool
}

// registryOf returns where a disk keeps something for initiators.
func registryOf(disk sbc.Disk, file *keptFile) scsi.Registry {
	vol, ok := disk.(keeper)
	if !ok {
		return file
	}
	return &keptWith{keptFile: file, volume: vol, always: leased(disk)}
}

// Load implements scsi.Registry.
func (k *keptWith) Load() ([]byte, error) {
	if state := k.volume.Kept(k.what); len(state) > 0 {
		return state, nil
	}
	return k.keptFile.Load()
}

// Save implements scsi.Registry.
func (k *keptWith) Save(ctx context.Context, state []byte) error {
	if !k.always && len(k.volume.Kept(k.what)) == 0 {
		return k.keptFile.Save(ctx, state)
	}
	if err := k.volume.SetKept(ctx, k.what, state); err != nil {
		return err
	}
	return k.forget()
}
