// Package hostilestore puts a proxy that misbehaves between the real daemon and a real S3 server, and reads and writes
// meanwhile. Whatever the proxy does (it is slow, refuses, cuts connections, damages and shortens what passes, does what it was asked and
// says nothing, shows what was there before, has a wrong clock):
//
//   - no command of the initiator fails, and none returns what was not written;
//   - the status names the volume, the cause, since when, and when it is tried again;
//   - when the fault ends everything goes on by itself, and the status is clean again;
//   - a gateway that has nothing but the bucket then finds everything that was written.
//
// The same is done to the local disk, which is full, read-only, or fails: then a command may fail, but what was acknowledged
// is there when the disk is mended.
package hostilestore
