// Package sessions tests what happens to sessions when something between an initiator and
// the bucket fails: the network, the daemon, the store.
//
// The initiator is a Linux kernel's own, in a guest (package guest), with a file system on
// the volume that is being written all the time. Between it and the gateway stands a Path,
// which can be cut like a cable:
//
//	guest: fio, ext4, [multipath], iscsi_tcp ---- Path ---- sluice serve ---- S3 server
//	                                         cut, mended   killed, stopped,  frozen,
//	                                                       restarted         thawed
//
// A trouble has been survived when the file system is still mounted and writable, every
// block that fio wrote verifies, no block device has reported an error, and a check of the
// file system finds nothing.
//
// go test runs a short form: a cut of 5 seconds, a daemon stopped and one killed, a store
// frozen for some seconds. SLUICE_RECOVERY=long (make recovery) cuts for 30 and 100 seconds,
// freezes the store for longer than a SCSI command may take, and does it all again over two
// paths with dm-multipath.
package sessions
