package ownership

// The model is small: so many writers, segments of each, and roots of each.
const (
	maxWriters = 5
	maxSeq     = 3
	maxRoots   = 3
	maxID      = maxWriters * maxSeq
	maxRoot    = maxWriters * maxRoots
)

// id is a segment's name: see segment.ID. They are in the order of their writers. 0: none.
type id uint8

func newID(writer, seq uint8) id { return id((writer-1)*maxSeq + seq) }
func (i id) writer() uint8 {
	if i == 0 {
		return 0
	}
	return (uint8(i)-1)/maxSeq + 1
}

func (i id) seq() uint8 {
	if i == 0 {
		return 0
	}
	return (uint8(i)-1)%maxSeq + 1
}

// ids is a set of segments, or of roots.
type ids uint32

func (s ids) has(i uint8) bool { return s&(1<<i) != 0 }
func (s *ids) add(i uint8)     { *s |= 1 << i }
func (s *ids) drop(i uint8)    { *s &^= 1 << i }

// span is a volume.Span.
type span struct{ writer, to uint8 }

// head is a volume.Head.
type head struct {
	etag, epoch, owner uint8 // owner: 1 + the gateway's index
	root               uint8
	published          id
	n                  uint8 // of spans
	spans              [maxWriters]span
}

// segments returns the history up to a segment: an open span ends there.
func (h *head) segments(last id) []id {
	list := make([]id, 0, maxID)
	for _, s := range h.spans[:h.n] {
		for q := uint8(1); q <= maxSeq && (s.to == 0 || q <= s.to); q++ {
			if i := newID(s.writer, q); i <= last {
				list = append(list, i)
			}
		}
	}
	return list
}

// where a gateway's process is.
type place uint8

const (
	down      place = iota // no process
	up                     // does not serve the volume
	claimed                // has read the head: volume.NewClaim
	taken                  // owns the epoch, recovers: Claim.Take, Volume.recover
	recovered              // wants a writer number: nextWriter
	counted                // has read writers.json
	numbered               // has its number: Volume.begin
	serving
	failed // knows that the volume is lost
	doubt  // does not know whether it gave the volume up
)

// request is a change of the head whose process has died, or has given it up: it may still arrive.
type request struct {
	pending bool
	match   uint8 // the ETag
	head    head
}

// gateway is one of the two.
type gateway struct {
	// On its disk:
	unsent ids   // local segments that may not be in the bucket
	epoch  uint8 // localState.Epoch
	mapped id    // how far the block map's checkpoint goes

	// In its process:
	at     place
	life   uint8 // which of all attachments it is
	force  bool
	before head // the head as it was before the take, while recovering
	view   head // what the claim knows of it
	span   uint8
	end    id // while recovering, and then of what was written: the newest segment
	start  id // while recovering: where the replay begins
	writer uint8
	count  uint8 // of writers.json, as read
	queue  ids   // segments to upload
	root   uint8 // written to the bucket, to be published
	roots  uint8 // how many
	snap   snapStep
	cut    uint8 // the root of the snapshot

	late  request // of this process or an earlier one
	stray ids     // segments that an earlier process was sending
}

// snapStep is how far a snapshot is: see appliance's snapshots.run.
type snapStep uint8

const (
	noSnap   snapStep = iota
	cutting           // the cut is made
	rooted            // its root is in the head
	recorded          // its record is in the bucket
)

const maxEpochs = 8

// collector is a gc.Collector.
type collector struct {
	step            uint8 // 0: idle
	segs, roots     ids   // listed
	before          head  // as the heads were read first
	snapshot, clone uint8 // roots
	// badSeg and badRoot are the garbage of the last pass; dueSeg and dueRoot are to be deleted.
	badSeg, badRoot, dueSeg, dueRoot ids
}

// content is what a segment was made of.
type content struct {
	epoch uint8
	prev  id
}

// budget bounds what happens at all.
type budget struct{ attach, write, root, crash, lost, resend, renew, checkpoint, pass, snap, clone uint8 }

// state is everything. It is comparable, and has no pointers.
type state struct {
	head    head
	writers uint8
	segs    ids
	roots   ids
	// The record of a snapshot: its root, and whether the user was told that it is complete.
	snapshot uint8
	complete bool
	// A clone's head: see volume.Create and its check.
	clone  uint8 // the root it begins from
	cloned uint8 // 0 none, 1 the snapshot was read, 2 the head is written, 3 confirmed

	gw  [2]gateway
	gc  collector
	can budget

	// What nobody sees: what every name was given to, who served in which epoch, and which epochs ended by force.
	made   [maxID + 1]content
	at     [maxRoot + 1]id // of roots: the position, which is the segment that the one block is in
	served [maxEpochs]uint8
	forced ids // epochs
	lives  uint8

	bad string
}

// violate notes the first thing that is wrong.
func (s *state) violate(what string) {
	if s.bad == "" {
		s.bad = what
	}
}
