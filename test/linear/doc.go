// Package linear asks whether a volume is a disk: whether everything that several initiators saw while they read,
// wrote, zeroed and flushed the same few blocks at once can be explained by commands that took effect one after the
// other, each at one moment between its being sent and its being answered. Porcupine looks for such an order.
//
// The unit is the sector: SCSI promises no more of a command of several (SBC-3 4.7). So each sector has a history of its own, and each
// command is in the history of all its sectors. A sector of a write says which write it is of (initiator.Stamp), so a
// read says what it saw, and half of a sector is never taken for a value.
//
//	             ┌── write 7 ──┐
//	┌─ read: 0 ─┐     ┌─ read: 7 ─┐      fine: 7 took effect between the two
//	                                ┌─ read: 0 ─┐      never
//
// A write that was under way when the daemon was killed took effect before the next one began, or never; a read of it
// was in vain. What was acknowledged stays.
//
// One test runs the volume and the target in this process, on a store that fails, loses answers and hangs, with a cache
// too small for the blocks, with a collector that deletes at once, and with restarts. The other kills the
// real daemon. A third hands the checker disks with small lies in them, each of which it must find.
//
//	go test ./test/linear                                   seconds
//	SLUICE_LINEAR=10m go test -timeout 0 ./test/linear      as long as you like
package linear
