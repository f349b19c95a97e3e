// Package image moves disk images into volumes and volumes into disk images. It knows nothing of the gateway: it reads a
// Source and fills a Volume, or reads a Moment and fills a file or a stream.
//
// # Formats
//
// Raw images are handled natively: a file or block device (its holes found by SEEK_HOLE), an HTTP server that answers ranges, or a
// stream. All others are read and written by the qemu-nbd of the machine, as a child process behind a private
// unix socket: nothing is converted to a temporary copy. An image that refers to other files (a backing file, an external data
// file, extents elsewhere) is refused: who made the image would else choose which files of this
// machine end in the volume.
//
// # Import
//
//	plan ──chunk──▶ read, 8 at once ──▶ in order: checksum ──▶ write, 8 at once ──▶ mark
//
// The plan walks the image. A hole is one chunk, however long; data comes in chunks of 4 MiB. Reads run in
// parallel, the checksum takes them in order, writes run in parallel again. A chunk of zeros is unmapped like a
// hole. Every 64 MiB, when all before is written, a mark is left with the volume: how far the import is, and the state
// of the checksum there. A later import resumes at the mark: nothing before it is read again.
//
// The checksum is SHA-256 over the image as it is: for raw images and streams that is what the disk holds. For other formats it is
// over the file, which is read once for it beforehand, and only if there is something to compare it with.
//
// # Export
//
// Only what occupies space is read, in pieces of 4 MiB, several at once. A file is written under a temporary name beside its
// place, synced, and renamed: under its own name there is never a part of an image.
package image
