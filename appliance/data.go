package appliance

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"

	"github.com/google/uuid"

	"sluice/appliance/api"
	"sluice/target/sbc"
)

// hold is a volume that one client of the API has for itself, to write to.
type hold struct {
	token string
	force bool // initiators may use the volume meanwhile
	image string
	id    uuid.UUID
	vol   servedVolume

	// using is held for reading by each operation, and for writing when the hold ends: afterwards none runs.
	using sync.RWMutex
	ended bool // protected by using
}

// holds are those of a gateway, by the name of the volume.
type holds struct {
	mu     sync.Mutex
	byName map[string]*hold
}

func (h *holds) get(name string) *hold {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.byName[name]
}

func (h *holds) set(name string, x *hold) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if x == nil {
		delete(h.byName, name)
		return
	}
	if h.byName == nil {
		h.byName = map[string]*hold{}
	}
	h.byName[name] = x
}

// HoldVolume implements api.Content.
func (v *volumes) HoldVolume(ctx context.Context, name string, req api.HoldRequest, use func(context.Context, api.Hold) error) error {
	release, err := v.claim(name)
	if err != nil {
		return err
	}
	defer release()
	e, err := v.attached(ctx, name)
	if err != nil {
		return err
	}
	if failure := e.failure(); failure != "" {
		return api.Errorf(api.CodeConflict, "volume %s has failed: %s", name, failure).WithHint("run sluice volume attach %s first", name)
	}
	h := &hold{token: rand.Text(), force: req.Force, image: req.Image, id: e.head.ID, vol: e.vol}
	v.holds.set(name, h) // from here on nobody logs in
	defer func() {
		h.using.Lock()
		h.ended = true
		h.using.Unlock()
		v.holds.set(name, nil)
	}()
	if err := v.unused(name, h); err != nil {
		return err
	}
	note, err := v.resumable(name, h, req)
	if err != nil {
		return err
	}
	v.log.InfoContext(ctx, "volume is held for a client of the API", "volume", name, "force", req.Force, "resumed_at", note.Done)
	return use(ctx, api.Hold{Token: h.token, Size: e.vol.Size(), Mark: api.Mark{Done: note.Done, State: note.State}})
}

// unused tells whether nobody is logged in who does not know.
func (v *volumes) unused(name string, h *hold) error {
	if sessions := v.exports.Sessions(name); len(sessions) > 0 && !h.force {
		return api.Errorf(api.CodeConflict, "%d initiators are logged in to volume %s, the first is %s: the disk must not change under them",
			len(sessions), name, sessions[0].Initiator).
			WithHint("log out there (iscsiadm --mode node --targetname %s --logout), or use --force", api.IQN(name))
	}
	return nil
}

// resumable notes that an image is being imported, and returns how far an earlier import of it is that is to be gone on with.
func (v *volumes) resumable(name string, h *hold, req api.HoldRequest) (importNote, error) {
	if req.Image == "" {
		return importNote{}, nil
	}
	note, found := v.imports.of(h.id)
	switch {
	case req.Resume && found && note.Image == req.Image:
		return note, nil
	case req.Resume && found && note.Image != "":
		return note, api.Errorf(api.CodeConflict, "the unfinished import into volume %s is of another image, or the image has changed since", name).
			WithHint("import it from the beginning, without --resume")
	}
	note = importNote{Image: req.Image}
	if err := v.imports.set(h.id, note); err != nil {
		return note, explain(err)
	}
	return note, nil
}

// held runs an operation under the hold that a client shows.
func (v *volumes) held(name, token string, do func(*hold) error) error {
	h := v.holds.get(name)
	if h == nil || token == "" || h.token != token {
		return api.Errorf(api.CodeConflict, "volume %s is not held by you", name).WithHint("hold it first: POST /v1/volumes/%s/hold", name)
	}
	h.using.RLock()
	defer h.using.RUnlock()
	if h.ended {
		return api.Errorf(api.CodeConflict, "the hold on volume %s has ended", name)
	}
	if err := v.unused(name, h); err != nil {
		return err
	}
	if err := do(h); err != nil {
		return explain(err)
	}
	return nil
}

// WriteVolume implements api.Content.
func (v *volumes) WriteVolume(ctx context.Context, name, token string, p []byte, off int64) error {
	return v.held(name, token, func(h *hold) error {
		if err := inside(h.vol, name, off, int64(len(p))); err != nil {
			return err
		}
		return writeSparse(ctx, h.vol, p, off)
	})
}

// ZeroVolume implements api.Content.
func (v *volumes) ZeroVolume(ctx context.Context, name, token string, off, n int64) error {
	return v.held(name, token, func(h *hold) error {
		if err := inside(h.vol, name, off, n); err != nil {
			return err
		}
		return zeroMapped(ctx, h.vol, off, n)
	})
}

// MarkVolume implements api.Content.
func (v *volumes) MarkVolume(ctx context.Context, name, token string, mark api.Mark) error {
	if mark.Done < 0 || len(mark.State) > maxImportState {
		return api.Errorf(api.CodeInvalid, "a mark at %d with a state of %d bytes makes no sense", mark.Done, len(mark.State))
	}
	return v.held(name, token, func(h *hold) error {
		if err := h.vol.Flush(ctx); err != nil {
			return fmt.Errorf("making volume %s durable: %w", name, err)
		}
		if mark.Finished {
			return v.imports.forget(h.id)
		}
		if h.image == "" {
			return nil
		}
		return v.imports.set(h.id, importNote{Image: h.image, Done: mark.Done, State: mark.State})
	})
}

// ReadVolume implements api.Content.
func (v *volumes) ReadVolume(ctx context.Context, name string, p []byte, off int64) error {
	e, err := v.attached(ctx, name)
	if err != nil {
		return err
	}
	if err := inside(e.vol, name, off, int64(len(p))); err != nil {
		return err
	}
	if err := e.vol.Read(ctx, p, off, true); err != nil {
		return explain(err)
	}
	return nil
}

// VolumeExtents implements api.Content.
func (v *volumes) VolumeExtents(ctx context.Context, name string, off, n int64) ([]api.Extent, error) {
	e, err := v.attached(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := inside(e.vol, name, off, n); err != nil {
		return nil, err
	}
	var list []api.Extent
	err = eachMapped(ctx, e.vol, off, n, func(x api.Extent) error {
		if list = append(list, x); len(list) > api.MaxExtents {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, explain(err)
	}
	return list, nil
}

// errEnough ends a walk over extents.
var errEnough = errors.New("enough")

func inside(disk sbc.Disk, name string, off, n int64) error {
	if off < 0 || n < 0 || off > disk.Size() || n > disk.Size()-off {
		return api.Errorf(api.CodeInvalid, "%d bytes at %d are not inside of volume %s of %s", n, off, name, api.Size(disk.Size()))
	}
	return nil
}

// eachMapped calls do for each range from off to off+n that occupies space.
func eachMapped(ctx context.Context, disk sbc.Disk, off, n int64, do func(api.Extent) error) error {
	for end := off + n; off < end; {
		if err := ctx.Err(); err != nil {
			return err
		}
		mapped, length, err := disk.Mapped(ctx, off)
		if err != nil {
			return fmt.Errorf("asking what is mapped at byte %d: %w", off, err)
		}
		length = min(length, end-off)
		if mapped {
			if err := do(api.Extent{Offset: off, Length: length}); err != nil {
				return err
			}
		}
		off += length
	}
	return nil
}

// zeroMapped unmaps what occupies space: a range that is empty already costs nothing.
func zeroMapped(ctx context.Context, disk sbc.Disk, off, n int64) error {
	return eachMapped(ctx, disk, off, n, func(x api.Extent) error {
		if err := disk.Zero(ctx, x.Offset, x.Length, true); err != nil {
			return fmt.Errorf("unmapping %d bytes at %d: %w", x.Length, x.Offset, err)
		}
		return nil
	})
}

const (
	// sparseRun is the shortest run of zeros that is unmapped and not written, in bytes: an unmapped run
	// costs a record of its own.
	sparseRun = 32 << 10
	// writeTogether bounds one write, in bytes.
	writeTogether = 1 << 20
)

// writeSparse writes p at off, and unmaps runs of zeros in it.
func writeSparse(ctx context.Context, disk sbc.Disk, p []byte, off int64) error {
	for len(p) > 0 {
		zeros := leadingZeros(p)
		if zeros >= sparseRun || zeros == len(p) {
			if err := zeroMapped(ctx, disk, off, int64(zeros)); err != nil {
				return err
			}
			p, off = p[zeros:], off+int64(zeros)
			continue
		}
		n := dataRun(p)
		if err := disk.Write(ctx, [][]byte{p[:n]}, []int64{off}, true); err != nil {
			return fmt.Errorf("writing %d bytes at %d: %w", n, off, err)
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

var zeroBlock [api.DataUnit]byte

// leadingZeros returns the length of the run of blocks of zeros that p begins with.
func leadingZeros(p []byte) int {
	n := 0
	for n+len(zeroBlock) <= len(p) && bytes.Equal(p[n:n+len(zeroBlock)], zeroBlock[:]) {
		n += len(zeroBlock)
	}
	return n
}

// dataRun returns how much of p is to be written at once: up to the next run of zeros that is long enough, or
// to the end.
func dataRun(p []byte) int {
	n := 0
	for n < min(len(p), writeTogether) {
		zeros := leadingZeros(p[n:min(len(p), n+sparseRun)])
		if n > 0 && (zeros >= sparseRun || zeros > 0 && n+zeros == len(p)) {
			break
		}
		n += max(zeros, len(zeroBlock))
	}
	return min(n, len(p))
}
