package appliance

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"
)

// dataDir is the directory of a gateway's state, held by a lock.
type dataDir struct {
	path string
	lock *os.File
	id   uuid.UUID // of the gateway
}

// openDataDir makes the directory if it is not there, and locks it. The kernel gives the
// lock back when the process ends, however it ends.
func openDataDir(path string) (*dataDir, error) {
	if err := makeDir(path); err != nil {
		return nil, fmt.Errorf("making the data directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(path, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the lock of the data directory: %w", err)
	}
	d := &dataDir{path: path, lock: lock}
	if err := d.take(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	if err := d.checkPlace(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	if d.id, err = gatewayID(path); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return d, nil
}

// checkPlace refuses a copy of a data directory: who has the original would serve the same volumes, as the same gateway. What a copy
// cannot have of it is the inode of the lock.
func (d *dataDir) checkPlace() error {
	var st unix.Statx_t
	if err := unix.Statx(int(d.lock.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_INO|unix.STATX_BTIME, &st); err != nil {
		return fmt.Errorf("looking at the lock of the data directory: %w", err)
	}
	here := fmt.Sprintf("%d %d.%09d\n", st.Ino, st.Btime.Sec, st.Btime.Nsec) // zero where there are no times of birth
	path := d.join("place")
	was, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := replaceFile(path, []byte(here)); err != nil {
			return fmt.Errorf("noting the place of the data directory: %w", err)
		}
	case err != nil:
		return fmt.Errorf("reading the place of the data directory: %w", err)
	case string(was) != here:
		return fmt.Errorf("the data directory %s is a copy: two gateways with one identity would fight over their volumes. If the original is gone "+
			"or never runs again, remove %s and start again; to have another gateway, start with an empty --data-dir", d.path, path)
	}
	return nil
}

// take locks the file and writes our process ID into it, for the one who is refused.
func (d *dataDir) take() error {
	err := unix.Flock(int(d.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		holder, _ := os.ReadFile(d.lock.Name()) // without it the message only says less
		return fmt.Errorf("the data directory %s is in use by another sluice (pid %s): stop that one, or give this one another --data-dir",
			d.path, strings.TrimSpace(string(holder)))
	}
	if err != nil {
		return fmt.Errorf("locking the data directory %s: %w", d.path, err)
	}
	if err := d.lock.Truncate(0); err != nil {
		return fmt.Errorf("writing the lock: %w", err)
	}
	if _, err := d.lock.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0); err != nil {
		return fmt.Errorf("writing the lock: %w", err)
	}
	return nil
}

func (d *dataDir) join(name string) string { return filepath.Join(d.path, name) }

// close gives the lock back. The file stays: removing it would let two processes lock two
// files of the same name.
func (d *dataDir) close() error { return d.lock.Close() }

// gatewayID reads the identity of the gateway, or makes one for a new data directory. One
// that cannot be read is an error: with another, the gateway would not know its volumes.
func gatewayID(dir string) (uuid.UUID, error) {
	path := filepath.Join(dir, "gateway.id")
	body, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		id := uuid.New()
		if err := replaceFile(path, []byte(id.String()+"\n")); err != nil {
			return uuid.Nil, fmt.Errorf("writing the gateway's identity: %w", err)
		}
		return id, nil
	}
	if err != nil {
		return uuid.Nil, fmt.Errorf("reading the gateway's identity: %w", err)
	}
	id, err := uuid.Parse(strings.TrimSpace(string(body)))
	if err != nil {
		return uuid.Nil, fmt.Errorf("%s does not hold the gateway's identity (%w): put it back from a copy; "+
			"\"sluice volume list\" on another gateway of this bucket shows it as the owner", path, err)
	}
	return id, nil
}

// bootID tells one boot of the machine from the next: what was written and not synced
// outlives a process, not a boot.
func bootID() (string, error) {
	body, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("reading the identity of this boot: %w", err)
	}
	return strings.TrimSpace(string(body)), nil
}
