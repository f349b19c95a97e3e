// Package crashfs is a file system that can lose its power. It runs in memory behind FUSE, so that
// whatever uses files (system calls, mmap, other people's libraries) uses it unchanged, and it writes down
// every operation in one log. From that log the state of the disk after a loss of power at any moment can be made, as
// often as wanted, and looked at with ordinary tools in an ordinary directory.
//
//	writer (another process) --- kernel --- Recorder ---> Log
//	                                                       |  each prefix of it
//	                                                     Image --- Crash(random) ---> Tree ---> a directory
//
// # What survives
//
// A fsync or fdatasync of a file makes its content and its size durable; a fsync of a directory makes the names in
// it durable. The name of a file that was synced is not durable before its directory was synced, and
// a directory is not before its parent was. Of everything else:
//
//   - any of the writes to a file may be lost, whatever became of those before and after it;
//   - a write may be torn: any of the 512-byte sectors that it covers may have kept what was there before;
//   - the size of a file may be any that it had since the last sync, and what was allocated and not written is zeros;
//   - any of the creations, renames and removals may be lost, except that what happened to one file or one name
//     happened in order. A rename happens or does not, in both directories at once, as in any journalling file system.
//
// Two writes to the same sector are never seen in the wrong order: of one sector there is one copy in
// memory. What is only in memory that was mapped and is dirty is not in the log, that is, it is lost, until
// the kernel writes it back: on msync, on fsync, after half a minute, or when sync_file_range asks for it.
//
// # Marks
//
// What is not an operation on a file, but has to be ordered among those ("the flush was acknowledged"), is written into the
// file Marks by a Marker: it appears in the log at its place.
//
// # Two processes
//
// The writer must not be the process that has the Recorder. A thread that waits for a page of a mapped file waits inside of
// a memory access, where the Go runtime cannot see it: the next garbage collection would wait for that thread, and
// the thread for the Recorder, which the collection has stopped.
package crashfs
