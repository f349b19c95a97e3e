// Package power takes the power away from a gateway's disk and looks at what is left: a volume of either mode on a crashable
// file system (package crashfs), with a bucket that loses nothing.
//
// A writer, a process of its own, runs the product's code as a gateway does: random writes, zeros and copies; flushes while
// writes go on; rotations, uploads, checkpoints of the block map, evictions, used files used again, snapshots, closes and detaches. It
// ends by kill -9, also in the middle of a sync, and another one goes on in the same boot of the machine, with what the dead one left in the page cache. All
// their operations on files are recorded in one log, and in the same log is what it began to write, what was
// acknowledged, and each change of the bucket. For many points of the log, several outcomes of a loss of power there are drawn and
// recovered by another boot of the same gateway. It must hold that
//
//   - the volume opens;
//   - each block (of a stored volume each sector: that is what a disk promises) holds, whole, a value that was written to it before that point, and none that is older
//     than the one it had when the last acknowledged flush began;
//   - a snapshot that is made then holds what the volume shows;
//   - nothing is damaged that only a scrub would find: all of it is read, and every checksum is checked on the way.
//
// Then for some of the outcomes: recovery itself runs under the recorder, and loses its power in turn. What the
// volume showed after the first recovery is what it shows after the second.
//
// SLUICE_CRASHFS=all tries every operation of the log, SLUICE_CRASHFS=N about N of them; SLUICE_CRASHFS_SEED
// repeats a run that failed. What each mechanism is good for, and how to see it, is in docs/DURABILITY.md.
package power
