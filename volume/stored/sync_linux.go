package stored

import (
	"os"

	"golang.org/x/sys/unix"
)

// datasync makes what was written to a file survive a loss of power.
func datasync(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }
