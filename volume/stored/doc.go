// Package stored is a stored volume: a block device whose whole content is in one file, or on one block device, of the
// gateway, and whose snapshots go to a bucket.
//
//	            read, write                        snapshot
//	initiator  <----------->  data file  ----------------------------->  segments, root in the bucket
//	                          marks: which 64 KiB chunks changed since    the same as those of a cached volume
//
// # Reads and writes
//
// Both go to the data file directly, in place. Nothing is copied and nothing waits for the bucket, which may be away for as long
// as it likes. What is written survives the death of the process; Flush syncs the file, once for all who wait. Unlike those
// of a cached volume, blocks have no checksum here: what the disk returns is believed, as it is by any file system on it.
//
// # Marks
//
// A snapshot uploads the chunks that changed since the one before, so no changed chunk may be unmarked, ever:
//
//	file       a bit for each  written when                          believed
//	dirty.0/1  chunk, 64 KiB   before the chunk's first change       if the machine has not been started anew since, or the
//	                                                                 volume was closed in order
//	intents    region, 64 MiB  and synced, before the region's       always
//	                           first change
//
// After kill -9 the page cache is what it was, and the dirty bits are exact. After a loss of power they may not be: data may have
// reached the disk before its bit. Then every chunk of a region with an intent counts as changed. So a write pays for a
// sync once for each region between two snapshots, and a loss of power costs uploads of what did not change, at most.
//
// # Snapshots
//
// A Cut swaps the set of changed chunks for an empty one while no write is under way, which takes microseconds. Finish uploads the chunks
// of the old set. Whoever is about to change one that was not uploaded yet first copies it aside, to a file without a name.
// Blocks of zeros are unmapped; the others become segments, in block order, and a root of the block map is
// written page by page on top of the newest one. When all of it is in the bucket, the root goes to head.json.
//
// The two sets have a file each. When a volume is opened both count: a snapshot that was under way is gone, and what it had
// to upload is still to be uploaded.
//
// # Restore
//
// A volume that begins as a root, of either mode's volume, serves I/O at once. Chunks that are not here yet are fetched when
// they are read or changed, and the rest in the background. A bit in the file "present" says that a chunk is here; it is
// written after the chunk was synced, by a flush or in the background. A chunk that is marked dirty is here, too, where dirty bits are
// believed. When all are here the file is removed.
//
// # Ownership
//
// head.json says who serves the volume, as it does for cached ones. volume.json in the volume's directory says of which
// attachment the data is: if another gateway has served the volume since, the data here is old, and is refused, or with
// force moved aside. If the bucket is away when the gateway starts, a volume that this gateway owned when it last saw the head
// is served all the same: the only up-to-date copy is here, and whoever takes it over meanwhile says that this
// gateway is dead. When the bucket is back the head is looked at before anything is written to it, and a volume that was taken over fails
// all I/O from then on.
//
// # Files
//
//	stored.go   the type, close         open.go        what is here, and whether it counts
//	owner.go    the ownership, detach   io.go          reads, writes, zeros, flushes
//	state.go    volume.json             bits.go        files of bits
//	data.go     the data file           sync_linux.go  fdatasync
//	cut.go      snapshots               upload.go      chunks to segments
//	present.go  restore
package stored
