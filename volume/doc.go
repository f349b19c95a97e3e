// Package volume is a cached volume: a block device whose data is in a bucket and whose
// newest and hottest blocks are on local disk.
//
// # A write
//
// Write computes the checksum of each block, takes room in the upload Buffer that all volumes
// of a gateway share, and appends: the blocks go to consecutive slots of the open segment with
// one vectored write, then one record that says which logical blocks they are. Then the block map
// points there, and the write is done: it survives the death of the process. All appends of
// a volume happen under one mutex, in one order, and the map follows in the same order, so the
// map is always the state after a whole number of appends. A write of part of a block reads
// the rest first, without a lock, and is appended only if the map still says what was read.
//
// A segment is sealed when it is full or a few seconds old. Its successor's file was prepared
// meanwhile, so that no write waits for the several syncs that takes.
//
// # A flush
//
// Flush syncs every segment file that was written since its last sync. Flushes that arrive
// together share one. After a sync that failed the volume stops: what the kernel dropped, a
// second sync would not bring back. With the durability InBucket a flush then has the open segment sealed, waits
// until all segments are in the bucket, and looks whether the volume is still this gateway's (durable.go).
//
// # Upload
//
// Sealed segments are synced, compressed and put under their own names, several at a time,
// with If-None-Match. They become part of the volume's history in the order of their numbers: the
// history ends at the first one that is missing. While writes go on and the buffer has room,
// uploads give way to them (pace.go); from 80 % on, writes are slowed down. No failure of the bucket
// is given up on.
//
// From time to time the keeper has the map frozen between two segments and, once all of those
// are published, writes it to the bucket as a root, and the root's place to head.json.
//
// # Opening
//
// The state of a volume is a root and every segment behind it. Open first raises the epoch in the head, by
// compare-and-swap: from then on nobody else changes it, and what the bucket holds is all that will ever count. It takes the local map if
// this gateway closed it, or its process died, since it was last attached; else the root in the
// bucket. It replays what is behind, from local files first, and ends at the first segment that
// is nowhere. Then it takes a new writer number: segments of two attachments never have the same name. An attachment that was superseded
// cannot change the head any more. It notices at its next look and fails all I/O; with a Lease it answers nothing from the moment at which another
// gateway may have taken the volume over.
//
// What is on the local disk is believed only by the process that wrote the head last: a gateway notes the nonce of each head before it writes
// it, so a copy of its data directory, which does not know the newest one, is told from the original.
//
// # Files
//
//	volume.go   the type, its statistics, changes of the head  open.go       attach, close, detach, abandon
//	recover.go  the newest state that can be had               replay.go     the segments behind the map
//	write.go    writes, zeros                                  copy.go       copies
//	read.go     reads, checksums                               readahead.go  sequential readers
//	seal.go     the open segment and its spare                 flush.go      syncs
//	upload.go   sealed segments to the bucket                  pace.go       how uploads give way
//	buffer.go   the upload buffer                              waiting.go    what waits, why, since when
//	keeper.go   sealing, checkpoints, roots, watch             durable.go    flushes that wait for the bucket
//	mirrored.go what a peer has of a volume                    kept.go       what initiators asked to keep
//	format.go   the version of a bucket                        head.go       head.json
//	names.go    create, find, list, delete                     writers.go    writer numbers
//	claim.go    the ownership of a head                        lease.go      an ownership that ends by itself
//	giveup.go   how an ownership ends                          cut.go        snapshots
//	points.go   recovery points                                view.go       a root, read without a volume
package volume
