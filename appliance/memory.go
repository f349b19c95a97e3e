package appliance

import (
	"os"
	"runtime/debug"
)

const (
	// gcPercent makes the garbage collector run twice as often as it does by itself. There is little to collect, but much that
	// is kept (the block map, buffers of uploads): half of it is room enough.
	gcPercent = 50
	// What a gateway needs without a volume, and what each volume that it serves may take: most of it the part of its block map
	// that is in memory.
	baseMemory   = 160 << 20
	volumeMemory = 176 << 20
)

// tuneMemory tells the runtime how much memory it should keep to. That is no bound: it collects garbage sooner when it comes
// near. Who sets GOGC or GOMEMLIMIT knows better.
func tuneMemory(volumes int) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(baseMemory + int64(volumes)*volumeMemory)
	}
}
