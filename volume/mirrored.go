package volume

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"time"

	"github.com/google/uuid"

	"sluice/cache"
	"sluice/object"
	"sluice/volume/segment"
)

// Mirror keeps what is not in the bucket on another gateway's disk; see package mirror.
type Mirror interface {
	// Append adds ranges to the copies of local segment files. When it returns nil they survive a loss of power there. It fails with
	// ErrLost if that gateway has taken the volume over. After an error it may be called again.
	Append(ctx context.Context, a MirrorAppend) error
}

// MirrorAppend is what the local segments of an attachment have gained.
type MirrorAppend struct {
	Volume    uuid.UUID
	Epoch     uint64
	Published segment.ID // copies up to this one are not needed any more
	Whole     bool       // with this there is a copy of all that is not in the bucket
	Ranges    []MirrorRange
}

// MirrorRange is a range of a local segment file.
type MirrorRange struct {
	Segment segment.ID
	Offset  int64
	Data    []byte
}

// Received are the copies that other gateways keep on this one.
type Received interface {
	// Take fences off the owners of a volume up to an epoch, so that their flushes fail, and calls use for each segment that the owner of that
	// epoch mirrored here, the oldest first.
	Take(volume uuid.UUID, epoch uint64, use func(id segment.ID, f *os.File) error) error
	// Forget removes the copies of a volume. The fence stays.
	Forget(volume uuid.UUID) error
}

// mirrorPiece bounds what is sent to the peer at once.
const mirrorPiece = 8 << 20

// errNoPeer is why the flushes of a volume wait that is to be mirrored by a gateway without a peer.
var errNoPeer = errors.New("this gateway has no peer, so flushes wait for the bucket: start it with --peer, or set another durability")

// errPeerAway is why it is not asked just now.
var errPeerAway = errors.New("the peer did not answer a moment ago, so flushes wait for the bucket")

// peerPause is for how long a peer that failed is not asked again.
const peerPause = 3 * time.Second

// reach says how far the copy of a segment file goes: to meta in its metadata region, and to data in its slots.
type reach struct{ meta, data int64 }

// mirror returns when the peer has the first want appends on its disk, as far as they are not in the bucket. While the peer cannot be
// reached it waits for the bucket instead, which is as good; and if neither can be, until ctx ends or the volume is told to be less durable.
func (v *Volume) mirror(ctx context.Context, want uint64) error {
	return v.onPeer.wait(ctx, want, func(ctx context.Context) (upTo uint64, err error) {
		ctx, call := v.waits.begin(ctx, WorkMirror)
		defer call.end()
		for {
			if upTo, err = v.mirrorRound(ctx); err == nil {
				return upTo, v.check()
			}
			if errors.Is(err, ErrLost) {
				v.fail(err)
			}
			if cause := errors.Join(v.check(), ctx.Err()); cause != nil {
				return 0, cause
			}
			call.failed(err, v.askPeer)
			instead, cancel := context.WithDeadline(ctx, v.askPeer)
			err = v.publish(instead, want)
			if err != nil && v.Durability() == OnPeer {
				<-instead.Done()
			}
			cancel()
			if err == nil || v.Durability() != OnPeer {
				return 0, nil // of what the peer has nothing is known
			}
		}
	})
}

// growth is a local segment file that has more than its copy.
type growth struct {
	seg *cache.Segment // retained
	now reach
}

// mirrorRound brings the copies up to date, and returns one more than the number of appends that they have. The caller holds onPeer.
func (v *Volume) mirrorRound(ctx context.Context) (upTo uint64, err error) {
	if v.opts.Mirror == nil {
		v.askPeer = time.Now().Add(peerPause)
		return 0, errNoPeer
	}
	if time.Now().Before(v.askPeer) {
		return 0, errPeerAway
	}
	grown, appends, published := v.grownSince()
	a := MirrorAppend{Volume: v.id, Epoch: v.epoch, Published: published}
	size := 0
	for i, g := range grown {
		if err == nil {
			err = v.eachRange(g, func(r MirrorRange) error {
				if size += len(r.Data); size > mirrorPiece {
					if err := v.opts.Mirror.Append(ctx, a); err != nil {
						return err
					}
					a.Ranges, size = nil, len(r.Data)
				}
				a.Ranges = append(a.Ranges, r)
				return nil
			})
		}
		grown[i].seg.Release()
	}
	if err == nil && (len(a.Ranges) > 0 || v.mirrored == nil) {
		a.Whole = true
		err = v.opts.Mirror.Append(ctx, a)
	}
	if err != nil {
		v.askPeer = time.Now().Add(peerPause)
		return 0, fmt.Errorf("mirroring: %w", err)
	}
	if v.mirrored == nil {
		v.mirrored = map[segment.ID]reach{}
	}
	for _, g := range grown {
		v.mirrored[g.seg.ID] = g.now
	}
	maps.DeleteFunc(v.mirrored, func(id segment.ID, _ reach) bool { return id <= published })
	return appends + 1, nil
}

// grownSince returns the local segments that are not in the bucket and have more than their copies, the oldest first, and how many appends the
// volume has with them.
func (v *Volume) grownSince() (grown []growth, appends uint64, published segment.ID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, u := range v.queue.waiting() {
		if u.stored || v.mirrored[u.id] == u.end {
			continue
		}
		if s := v.opts.Cache.Acquire(u.id); s != nil { // else it was stored just now
			grown = append(grown, growth{s, u.end})
		}
	}
	if o := v.open; o != nil && o.blocks >= 0 && !o.since.IsZero() {
		if end := reachOf(o.w); v.mirrored[o.seg.ID] != end {
			o.seg.Retain()
			grown = append(grown, growth{o.seg, end})
		}
	}
	published, _ = v.queue.position()
	return grown, v.appends, published
}

func reachOf(w *segment.Writer) reach {
	meta, data := w.End()
	return reach{meta, data}
}

// eachRange calls send for what a file has more than its copy.
func (v *Volume) eachRange(g growth, send func(MirrorRange) error) error {
	have, ok := v.mirrored[g.seg.ID]
	if !ok {
		have = reach{0, segment.SlotOffset(0)}
	}
	// The data first: a record whose data is missing is a bad one.
	for _, span := range []struct{ from, to int64 }{{have.data, g.now.data}, {have.meta, g.now.meta}} {
		for off := span.from; off < span.to; {
			p := make([]byte, min(span.to-off, mirrorPiece/8))
			if _, err := g.seg.File.ReadAt(p, off); err != nil {
				return fmt.Errorf("reading segment %s: %w", g.seg.ID, err)
			}
			if err := send(MirrorRange{Segment: g.seg.ID, Offset: off, Data: p}); err != nil {
				return err
			}
			off += int64(len(p))
		}
	}
	return nil
}

// unmirror tells the peer that nothing of the volume is needed any more. If it is not told, that costs some room there.
func (v *Volume) unmirror(ctx context.Context) {
	if v.opts.Mirror == nil || v.Durability() != OnPeer {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	err := v.opts.Mirror.Append(ctx, MirrorAppend{Volume: v.id, Epoch: v.epoch, Published: segment.ID(math.MaxUint64), Whole: true})
	if err != nil {
		v.log.Info("the peer was not told that it need not mirror the volume any more", "error", err)
	}
}

// receive brings what the last owner mirrored here into the bucket, from where the volume is recovered like any other. The ownership is
// taken already. What the owner uploaded itself is as good, or better.
func (v *Volume) receive(ctx context.Context, before *Head) error {
	if o := before.Owner; v.opts.Received == nil || o == nil || o.Gateway == v.opts.Gateway {
		return nil
	}
	builder := segment.NewBuilder(segment.BuilderOptions{Codec: v.opts.Codec})
	segments := 0
	err := v.opts.Received.Take(v.id, before.Epoch, func(id segment.ID, f *os.File) error {
		got, err := segment.Recover(f, id)
		if errors.Is(err, segment.ErrHeader) || err == nil && len(got.Records) == 0 {
			return nil // it had only begun
		}
		if err != nil {
			return err
		}
		if got.Header.Volume != v.id {
			return fmt.Errorf("%w: it is of volume %s", ErrDamaged, got.Header.Volume)
		}
		body, err := builder.EncodeFile(nil, f, id, len(got.Records), time.Now())
		if err != nil {
			return err
		}
		segments++
		if _, err := v.opts.Store.PutIf(ctx, id.Key(), body, ""); err != nil && !errors.Is(err, object.ErrPrecondition) {
			return err
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("taking over what was mirrored here: %w", err)
	}
	if segments > 0 {
		v.log.Info("what the last owner mirrored here is in the bucket", "segments", segments)
	}
	return nil
}
