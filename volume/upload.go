package volume

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"sluice/object"
	"sluice/volume/segment"
)

// uploadWindow is how many segments of one volume are on their way to the bucket at once.
const uploadWindow = 8

// upload is a sealed segment on its way to the bucket.
type upload struct {
	id      segment.ID
	records int       // in its file
	blocks  int64     // what it takes of the upload buffer
	appends uint64    // how many appends the volume had when it was sealed
	since   time.Time // when its first block was accepted
	sealed  time.Time // when it took its last append, or later
	stored  bool      // it is in the bucket, but an earlier one is not
	end     reach     // of its file
}

// uploadQueue holds the sealed segments that are not published, oldest first.
type uploadQueue struct {
	mu        sync.Mutex // protects what follows
	items     []upload   // not published
	started   int        // how many of them are being uploaded or stored
	published segment.ID // the newest segment that is in the bucket with all before it
	blocks    int64      // of items not stored
	more      chan struct{}
	advanced  chan struct{} // closed and replaced when published changes, or the volume has failed
}

func newUploadQueue(published segment.ID) uploadQueue {
	return uploadQueue{published: published, more: make(chan struct{}, 1), advanced: make(chan struct{})}
}

// moved is closed when published changes, or the volume has failed.
func (q *uploadQueue) moved() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.advanced
}

// tell wakes those who wait for published to change.
func (q *uploadQueue) tell() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.advanced == nil {
		return // nobody can be waiting: the volume is not open yet
	}
	close(q.advanced)
	q.advanced = make(chan struct{})
}

func (q *uploadQueue) push(u upload) {
	q.mu.Lock()
	q.items = append(q.items, u)
	q.blocks += u.blocks
	q.mu.Unlock()
	signal(q.more)
}

// next returns the oldest segment that nobody has started to upload.
func (q *uploadQueue) next() (upload, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.started == len(q.items) {
		return upload{}, false
	}
	u := q.items[q.started]
	q.started++
	return u, true
}

// finish notes that a segment is stored. It reports whether that published anything:
// segments are uploaded in parallel, but become part of the history in order.
func (q *uploadQueue) finish(id segment.ID) (advanced bool) {
	defer func() {
		if advanced {
			q.tell()
		}
	}()
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range q.items {
		if q.items[i].id == id {
			q.items[i].stored = true
			q.blocks -= q.items[i].blocks
		}
	}
	for len(q.items) > 0 && q.items[0].stored {
		q.published = q.items[0].id
		q.items = q.items[1:]
		q.started--
		advanced = true
	}
	return advanced
}

// waiting returns the segments that are not published, the oldest first.
func (q *uploadQueue) waiting() []upload {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.items)
}

// unsent returns the blocks that are not in the bucket.
func (q *uploadQueue) unsent() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.blocks
}

// unsentUpTo returns the blocks of segments up to id that are not in the bucket.
func (q *uploadQueue) unsentUpTo(id segment.ID) (blocks int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, u := range q.items {
		if u.id <= id && !u.stored {
			blocks += u.blocks
		}
	}
	return blocks
}

// position returns how far the history is in the bucket, and how many segments wait.
func (q *uploadQueue) position() (published segment.ID, waiting int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.published, len(q.items)
}

func (q *uploadQueue) describe(st *Stats) {
	q.mu.Lock()
	defer q.mu.Unlock()
	st.Published = q.published
	st.Queued = q.blocks * segment.BlockSize
	st.Segments = len(q.items)
	if len(q.items) > 0 {
		st.Oldest = q.items[0].since
	}
}

// uploader takes sealed segments from the queue until ctx ends.
func (v *Volume) uploader(ctx context.Context) {
	builder := segment.NewBuilder(segment.BuilderOptions{Codec: v.opts.Codec})
	for {
		u, ok := v.queue.next()
		if !ok {
			select {
			case <-v.queue.more:
				continue
			case <-ctx.Done():
				return
			}
		}
		signal(v.queue.more) // the next uploader looks, too
		v.mu.Lock()
		appends := v.appends
		v.mu.Unlock()
		began := time.Now()
		if v.upload(ctx, builder, u) != nil {
			return // the volume has stopped, or is being closed
		}
		if v.pace(ctx, time.Since(began), appends) != nil {
			return
		}
	}
}

// upload stores one segment, however long the bucket takes to accept it.
func (v *Volume) upload(ctx context.Context, builder *segment.Builder, u upload) error {
	// What is in the bucket must also be on disk, with all before it: otherwise a loss of
	// power would let this gateway see an older state than the bucket holds.
	if err := v.syncTo(ctx, u.appends); err != nil {
		return err
	}
	body, err := v.encode(builder, u)
	if err != nil {
		err = fmt.Errorf("preparing segment %s for upload: %w", u.id, err)
		v.fail(err)
		return err
	}
	defer v.opts.Buffer.recycle(body)
	if err := v.put(ctx, u.id, body); err != nil {
		return err
	}
	if err := v.opts.Cache.Sent(u.id); err != nil {
		err = fmt.Errorf("after the upload of segment %s: %w", u.id, err)
		v.fail(err)
		return err
	}
	v.stats.uploadedSegments.Add(1)
	v.stats.uploadedBytes.Add(int64(len(body)))
	v.opts.Buffer.Release(u.blocks * segment.BlockSize)
	if v.queue.finish(u.id) {
		signal(v.advanced)
	}
	return nil
}

// encode makes the object of a segment. While it is sent it takes no more memory than its
// length: data that shrinks well does not keep the room it was made in.
func (v *Volume) encode(builder *segment.Builder, u upload) ([]byte, error) {
	s := v.opts.Cache.Acquire(u.id)
	if s == nil {
		return nil, errors.New("its local file is gone")
	}
	defer s.Release()
	body, err := builder.EncodeFile(v.opts.Buffer.scratch(), s.File, u.id, u.records, u.sealed)
	if err != nil {
		return nil, err
	}
	if len(body) < cap(body)/2 {
		room := body
		body = slices.Clone(body)
		v.opts.Buffer.recycle(room)
	}
	return body, nil
}

// put stores the object unless it is there. An object of that name with other content
// was written by another gateway that believes to be this attachment.
func (v *Volume) put(ctx context.Context, id segment.ID, body []byte) error {
	ctx, call := v.waits.begin(ctx, WorkUpload)
	defer call.end()
	for pause := time.Second; ; pause = min(2*pause, 30*time.Second) {
		_, err := v.opts.Store.PutIf(ctx, id.Key(), body, "")
		if errors.Is(err, object.ErrPrecondition) {
			var same bool
			if same, err = v.isThere(ctx, id, body); err == nil && !same {
				err = fmt.Errorf("%w: segment %s in the bucket is not the one written here", ErrLost, id)
				v.fail(err)
				return err
			}
		}
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		// Whatever the reason (no permission, a full bucket), nothing is given up: the data
		// stays here, and the status says why.
		v.log.Warn("upload failed; it will be tried again", "segment", id, "error", err)
		call.failed(err, time.Now().Add(pause))
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// isThere tells whether the object of a segment says the same as body. Its bytes may differ:
// they depend on the compression that was chosen when it was stored.
func (v *Volume) isThere(ctx context.Context, id segment.ID, body []byte) (bool, error) {
	there, err := segment.FetchHeader(ctx, v.opts.Store, id)
	if err != nil {
		return false, err
	}
	mine, err := segment.ParseHeader(body)
	if err != nil {
		return false, err
	}
	if there.Thinned {
		return there.Header == mine.Header && contains(mine, there), nil
	}
	a, b := slices.Collect(there.Runs()), slices.Collect(mine.Runs())
	return there.Header == mine.Header && slices.EqualFunc(a, b, func(x, y segment.Extent) bool {
		return x.Op == y.Op && x.Run == y.Run && x.Slot == y.Slot && x.From == y.From && slices.Equal(x.CRCs, y.CRCs)
	}), nil
}

// contains tells whether a segment has all live blocks of another.
func contains(whole, part *segment.ObjectHeader) bool {
	crcs := map[uint32]uint32{}
	for e := range whole.Runs() {
		for i, crc := range e.CRCs {
			if e.Op == segment.OpWrite {
				crcs[e.Slot+uint32(i)] = crc
			}
		}
	}
	for e := range part.Runs() {
		for i, crc := range e.CRCs {
			if have, ok := crcs[e.Slot+uint32(i)]; !ok || have != crc {
				return false
			}
		}
	}
	return true
}
