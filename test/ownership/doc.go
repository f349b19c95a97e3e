// Package ownership shows that a volume has one writer: with two models of the protocol that are explored
// exhaustively, and with real daemons that are stopped, cut off and continued.
//
// # The model
//
// Two gateways, one volume, one bucket, and a collector of garbage, with the steps that the code makes: each
// step is one call of the object store, or one change on a gateway's disk, and the comment at each step names the
// function that it stands for. In between everything may happen: the other gateway's steps, a crash and a restart
// with what is on the disk, an answer that is lost, a request of a dead process that arrives late. A
// process that is stopped and continued is one that makes no step for a while, so every order of steps is also one with such a
// stop. There is no clock in it: a wait takes any time or none, so what holds here holds for clocks that jump.
//
// A volume has one block, which each write overwrites: so a segment is garbage as soon as a root is newer, and the
// collector has as much to delete as it ever can. Each segment knows on top of which segment it was written: a history
// that two gateways wrote by turns without knowing of each other does not fit together.
//
//	bucket   head {etag, epoch, owner, root, spans, published}, writers, segments, roots, a snapshot, a clone
//	gateway  disk: segments not uploaded, how far its block map goes and in which epoch
//	         process: what it knows of the head, where it is in attaching, serving or giving up
//
// The exploration is breadth first, so a counterexample is as short as any. A state is remembered by a hash
// of 64 bits: among a million states two have the same one with a probability of 1 in 30 million.
//
// What must hold is in invariants_test.go. That the model can fail is shown by taking out one mechanism at a time: for each there is a
// counterexample (mutations_test.go).
//
// # The leases
//
// The second model (lease_model_test.go) is about time: two gateways with clocks of their own, one head, and nothing else. A clock may miss a tick, at
// most one in six, which is as far as a standby's patience goes; a machine may be suspended; each question to the bucket and each answer takes any time, or
// comes late, or never. The lease is five ticks, and a standby waits for six. No gateway may acknowledge I/O of a volume that another one has. Time has no bound: the ages that count end
// where they make no difference any more.
//
// # The processes
//
// The daemon is stopped with SIGSTOP, or cut off from its bucket, while another one takes its volume over, writes to it and collects
// garbage; then it goes on. Every object in the bucket is compared before and after.
package ownership
