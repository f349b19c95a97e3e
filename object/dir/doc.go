// Package dir is an object store in a local directory: the default of a gateway without
// a bucket, and a bucket's stand-in on one's own machine.
//
// An object is a plain file whose path is its key, so that it can be looked at, and
// copied to a bucket, with everyday tools:
//
//	ROOT/volumes/7f3a/head.json    the object "volumes/7f3a/head.json"
//	ROOT/.tmp/                     files being written; left-overs are removed by Open
//	ROOT/.lock                     locks between processes; one byte for each group of keys
//
// Names that begin with a dot are not valid keys, so the last two can never be objects.
// Other files that are no valid keys are never listed. Folders are made as needed and stay.
//
// # Durability
//
// A write goes to a new file in .tmp, which is synced, renamed over its key, and made
// durable by a sync of the folder (and of the folders above, if they are new). A reader sees
// the old object or the new one, never a mixture: an open file stays what it was.
//
// # Conditional writes
//
// Every change of a key happens under the key's lock, so the ETag that PutIf compares is
// still the object's when it renames. The lock is an open-file-description lock on a
// byte of .lock, taken on a descriptor of its own: it excludes other goroutines and
// other processes alike, and goes away with its process.
//
// # ETags
//
// The ETag is made of the file's modification time in nanoseconds, its inode and its size.
// A write sets the modification time itself, to now or to one nanosecond after that of the
// object it replaces if that is later; so it is different each time, even when inodes are
// reused and the clock stands still. Open refuses a file system that does not keep
// nanoseconds.
package dir
