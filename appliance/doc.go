// Package appliance is the composition root: it makes one gateway out of an object store,
// an index, a cache, volumes, an iSCSI server and the API, and takes it down in order.
//
// # Order
//
// Each line needs those above it. A gateway opens from top to bottom, and closes from
// bottom to top; if one step fails, those before it are closed again.
//
//	data directory   made, and locked: one daemon each; gateway.id is the identity; a copy is refused
//	access           access.json: access lists and CHAP secrets (mode 0600)
//	object store     opened, and probed for conditional writes; then Count, Retry, Limit
//	index            badger
//	cache            the local segment files
//	iSCSI server     without portals
//	volumes          those that this gateway owns are attached, each with a target
//	snapshots        and the collector of garbage
//	portal           initiators may log in now
//	API              the last: who gets an answer finds everything there
//
// A gateway that is told to stop first closes the API and the portal, asks initiators to log
// out, answers what is in flight, then makes all that was accepted durable on local disk. It
// does not wait for the bucket: what is not uploaded is uploaded after the next start. In a group it does wait, for as long as
// initiators have to log out: a standby may serve the volumes before that start.
//
// # Who may log in
//
// Each volume has an access list of initiator names and CHAP credentials by initiator,
// both empty at first. An initiator gets in if it is on the list or the list is empty, and if
// it proves that it knows its secret or no initiator has one; and where both are
// empty, if it comes from this machine. So a portal on any address is safe to open, but to
// open one that nobody could use is a mistake: a gateway that has volumes, none with a
// list or a secret, refuses to start on another than a loopback address.
//
// Access belongs to a gateway, not to the volume in the bucket: secrets stay on the
// machine that they were given to.
//
// # Snapshots
//
// A snapshot begins with a cut of each volume that it is asked of, all held at one instant, and is made in the background:
// when all that the cut names is in the bucket, and its root, the record is written, and only then may the volume
// write another root. It is lost if the gateway stops before.
//
// # Ownership
//
// The bucket says which gateway serves a volume. At start a gateway attaches those that are
// its own. One that cannot be attached does not keep the others from being served: it is
// shown as failed, and "volume attach" tries again.
//
// In a group the ownership is a lease (volume.Lease): leasedVolume lets no I/O pass when it has run out, and the fence ends the
// sessions, so that initiators try another path. A standby reads the heads of its group every second, shows initiators the path that the
// volume will have (standbyDisk), and takes over what has been silent for longer than the lease. docs/FAILOVER.md is for those who run it.
package appliance
