package stored

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/object"
	"sluice/volume"
	"sluice/volume/blockmap"
	"sluice/volume/segment"
)

const (
	chunkBlocks = ChunkSize / segment.BlockSize
	pageChunks  = blockmap.PageBlocks / chunkBlocks
	// uploads is how many segments are on their way at once, each with two times 8 MiB of memory.
	uploads = 4
)

// uploader brings the chunks of a cut to the bucket as segments, and writes the root of the moment.
type uploader struct {
	c      *Cut
	claim  *volume.Claim
	base   *blockmap.View // the newest root, or nil
	root   *blockmap.RootWriter
	group  *errgroup.Group
	fill   *fresh // takes blocks; nil: none yet
	chunk  []byte
	blocks []segment.Entry // of a page
}

// fresh is a segment that is being filled.
type fresh struct {
	id     segment.ID
	data   []byte
	layout segment.Layout
	chunks int64 // bytes of the chunks that end in it
}

func (c *Cut) finish(ctx context.Context) (root blockmap.Root, err error) {
	v := c.v
	claim, err := v.claimNow(ctx)
	if err != nil {
		return root, err
	}
	head := claim.Head()
	if c.total == 0 && head.Root != nil {
		c.ended = true
		return *head.Root, nil // nothing has changed
	}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(uploads)
	u := &uploader{c: c, claim: claim, group: group, chunk: make([]byte, ChunkSize), blocks: make([]segment.Entry, blockmap.PageBlocks)}
	err = u.begin(gctx, head)
	if err == nil {
		err = u.uploadAll(gctx)
	}
	if err = errors.Join(err, group.Wait()); err != nil {
		return root, err
	}
	// A number of its own, also if no segment was needed: roots of one volume have different positions.
	position := v.nextSegment()
	err = c.insist(ctx, func() (err error) { root, err = u.root.Finish(ctx, position); return err })
	if err == nil {
		// What a snapshot has must not be newer than what the disk has after a loss of power: the chunk counts as unchanged from
		// now on, so no later snapshot would have what is on the disk then.
		err = v.Flush(ctx)
	}
	if err == nil {
		err = c.insist(ctx, func() error { return u.publish(ctx, root, position) })
	}
	if err != nil {
		return root, err
	}
	c.ended = true
	v.stats.roots.Add(1)
	return root, nil
}

func (u *uploader) begin(ctx context.Context, head *volume.Head) error {
	v := u.c.v
	if head.Root != nil {
		err := u.c.insist(ctx, func() (err error) { u.base, err = blockmap.OpenView(ctx, v.opts.Store, *head.Root); return err })
		if err != nil {
			return err
		}
	}
	v.stateMu.Lock()
	v.roots++
	key := fmt.Sprintf("volumes/%s/roots/%06x-%d", v.id, v.writer, v.roots)
	v.stateMu.Unlock()
	u.root = blockmap.NewRootWriter(v.opts.Store, u.base, key)
	return nil
}

func (u *uploader) publish(ctx context.Context, root blockmap.Root, position segment.ID) error {
	return u.claim.Update(ctx, func(h *volume.Head) {
		h.Root, h.Published = &root, position
	})
}

// nextSegment gives out the number of a segment.
func (v *Volume) nextSegment() segment.ID {
	v.stateMu.Lock()
	defer v.stateMu.Unlock()
	v.seq++
	return segment.NewID(v.writer, v.seq)
}

// uploadAll goes through the chunks of the cut in order, page by page of the map.
func (u *uploader) uploadAll(ctx context.Context) error {
	page, chunks := int64(-1), []int64(nil)
	for chunk := range u.c.set.all() {
		if p := chunk / pageChunks; p != page {
			if err := u.uploadPage(ctx, page, chunks); err != nil {
				return err
			}
			page, chunks = p, chunks[:0]
		}
		chunks = append(chunks, chunk)
	}
	if err := u.uploadPage(ctx, page, chunks); err != nil {
		return err
	}
	u.send(ctx)
	return nil
}

func (u *uploader) uploadPage(ctx context.Context, page int64, chunks []int64) error {
	if len(chunks) == 0 {
		return nil
	}
	clear(u.blocks)
	if u.base != nil && len(chunks) < pageChunks {
		if err := u.c.insist(ctx, func() error { return u.loadPage(ctx, uint64(page)) }); err != nil {
			return err
		}
	}
	for _, chunk := range chunks {
		if err := u.c.read(chunk, u.chunk); err != nil {
			return err
		}
		if err := u.addChunk(ctx, chunk); err != nil {
			return err
		}
	}
	return u.c.insist(ctx, func() error { return u.root.SetPage(ctx, uint64(page), u.blocks) })
}

// loadPage reads what the newest root has of a page.
func (u *uploader) loadPage(ctx context.Context, page uint64) error {
	first := page * blockmap.PageBlocks
	for run, err := range u.base.Runs(ctx, first, first+blockmap.PageBlocks) {
		if err != nil {
			return fmt.Errorf("reading the block map: %w", err)
		}
		copy(u.blocks[run.Block-first:], run.Entries)
	}
	return nil
}

// addChunk puts the blocks of a chunk into segments, but for those that are zeros.
func (u *uploader) addChunk(ctx context.Context, chunk int64) error {
	for i := range int64(chunkBlocks) {
		p := u.chunk[i*segment.BlockSize:][:segment.BlockSize]
		block := uint64(chunk*chunkBlocks + i)
		e := &u.blocks[block%blockmap.PageBlocks]
		if isZero(p) {
			*e = segment.Entry{}
			continue
		}
		if u.fill == nil {
			u.fill = &fresh{id: u.c.v.nextSegment(), data: make([]byte, 0, segment.Slots*segment.BlockSize)}
		}
		f := u.fill
		slot, crc := uint32(len(f.data)/segment.BlockSize), segment.Checksum(p)
		f.data = append(f.data, p...)
		f.add(block, slot, crc)
		*e = segment.Entry{Name: segment.NewName(f.id, slot), CRC: crc}
		if len(f.data) == cap(f.data) {
			u.send(ctx)
		}
	}
	if u.fill == nil {
		u.c.done.Add(ChunkSize)
	} else {
		u.fill.chunks += ChunkSize
	}
	return ctx.Err()
}

// add notes a block in the layout.
func (f *fresh) add(block uint64, slot, crc uint32) {
	if n := len(f.layout.Live); n > 0 {
		if e := &f.layout.Live[n-1]; e.End() == block {
			e.Count++
			e.CRCs = append(e.CRCs, crc)
			return
		}
	}
	f.layout.Live = append(f.layout.Live, segment.Extent{
		Op: segment.OpWrite, Run: segment.Run{Start: block, Count: 1}, Slot: slot, CRCs: []uint32{crc},
	})
}

// send has the segment at hand uploaded.
func (u *uploader) send(ctx context.Context) {
	f := u.fill
	if f == nil {
		return
	}
	u.fill = nil
	u.group.Go(func() error { return u.c.put(ctx, f) })
}

// blockReader is the blocks of a segment in memory, read as a local segment file is.
type blockReader struct{ data []byte }

// ReadAt implements io.ReaderAt for what lies in slots.
func (r *blockReader) ReadAt(p []byte, off int64) (int, error) {
	off -= segment.SlotOffset(0)
	if off < 0 || off+int64(len(p)) > int64(len(r.data)) {
		return 0, errors.New("outside of the segment")
	}
	return copy(p, r.data[off:]), nil
}

// put stores a segment, however long the bucket takes to accept it.
func (c *Cut) put(ctx context.Context, f *fresh) error {
	v := c.v
	v.stateMu.Lock()
	hdr := segment.Header{ID: f.id, Volume: v.id, Epoch: v.state.Epoch}
	v.stateMu.Unlock()
	f.layout.Sealed = c.at
	body, err := segment.NewBuilder(segment.BuilderOptions{Codec: v.opts.Codec}).Encode(nil, hdr, &f.layout, &blockReader{f.data})
	if err != nil {
		return err
	}
	err = c.insist(ctx, func() error { return v.putOnce(ctx, f.id, body) })
	if err != nil {
		return err
	}
	v.stats.uploadedSegments.Add(1)
	v.stats.uploadedBytes.Add(int64(len(body)))
	c.done.Add(f.chunks)
	return nil
}

// putOnce stores an object that nobody else can have written: unless it is there as we made it, something is very wrong.
func (v *Volume) putOnce(ctx context.Context, id segment.ID, body []byte) error {
	_, err := v.opts.Store.PutIf(ctx, id.Key(), body, "")
	if !errors.Is(err, object.ErrPrecondition) {
		return err
	}
	there, _, err := v.opts.Store.GetRange(ctx, id.Key(), 0, -1)
	if err == nil && !slices.Equal(there, body) {
		err = fmt.Errorf("%w: segment %s in the bucket is not the one written here", volume.ErrLost, id)
		v.fail(err)
	}
	return err
}

// insist tries until it succeeds, ctx ends, or the volume has stopped.
func (c *Cut) insist(ctx context.Context, try func() error) error {
	for pause := time.Second; ; pause = min(2*pause, 30*time.Second) {
		err := try()
		c.fault.Store(&err)
		if err == nil {
			return nil
		}
		if stopped := c.v.check(); stopped != nil {
			return stopped
		}
		if errors.Is(err, blockmap.ErrDamaged) || errors.Is(err, volume.ErrLost) || errors.Is(err, volume.ErrClosed) {
			return err
		}
		c.v.log.Warn("a snapshot is delayed; it will be tried again", "error", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
