package appliance

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"sluice/appliance/api"
	"sluice/object"
	"sluice/snapshot"
	"sluice/volume"
	"sluice/volume/blockmap"
	"sluice/volume/stored"
)

// momentHold keeps writes out of a volume while its moment is noted; see volume.Hold.
type momentHold interface {
	Cut() cut
	Release()
}

// cut is a moment of a volume on its way to the bucket; see volume.Cut.
type cut interface {
	Time() time.Time
	Size() int64
	Progress() (done, total int64)
	Finish(ctx context.Context) (blockmap.Root, error)
	Confirm(ctx context.Context) error
	Close()
}

// holdOf makes a hold of one whose cut has a type of its own.
type holdOf[C cut] struct {
	of interface {
		Cut() C
		Release()
	}
}

func (h holdOf[C]) Cut() cut { return h.of.Cut() }
func (h holdOf[C]) Release() { h.of.Release() }

// cachedVolume is a volume whose data is in the bucket.
type cachedVolume struct{ *volume.Volume }

// Hold implements servedVolume.
func (v cachedVolume) Hold(ctx context.Context) (momentHold, error) {
	h, err := v.Volume.Hold(ctx)
	if err != nil {
		return nil, err
	}
	return holdOf[*volume.Cut]{h}, nil
}

// storedVolume is a volume whose data is on this gateway.
type storedVolume struct{ *stored.Volume }

// Hold implements servedVolume.
func (v storedVolume) Hold(ctx context.Context) (momentHold, error) {
	h, err := v.Volume.Hold(ctx)
	if err != nil {
		return nil, err
	}
	return holdOf[*stored.Cut]{h}, nil
}

// checkMode returns the mode of a new volume and where its data is to be.
func checkMode(mode, path string, preserve bool, rate int64) (volume.Mode, stored.Placement, error) {
	place := stored.Placement{Path: path, Preserve: preserve, Rate: rate}
	if rate < 0 {
		return "", place, api.Errorf(api.CodeInvalid, "a rate cannot be negative")
	}
	switch volume.Mode(mode) {
	case "", volume.Cached:
		if path != "" || preserve {
			return "", place, api.Errorf(api.CodeInvalid, "a cached volume has its data in the bucket: a path, and what to preserve, are for stored volumes").
				WithHint("create it with --mode stored")
		}
		return volume.Cached, place, nil
	case volume.Stored:
		if preserve && path == "" {
			return "", place, api.Errorf(api.CodeInvalid, "to preserve data, say with --path where it is")
		}
		return volume.Stored, place, nil
	}
	return "", place, api.Errorf(api.CodeInvalid, "there is no mode %q", mode).WithHint("it is cached or stored")
}

// CreateVolume implements api.Volumes.
func (g *Gateway) CreateVolume(ctx context.Context, req api.CreateRequest) (*api.Volume, error) {
	if req.Snapshot == "" {
		return g.volumes.CreateVolume(ctx, req)
	}
	record, err := g.snapshots.catalogue.Find(ctx, req.Snapshot)
	if err != nil {
		return nil, explain(err)
	}
	if req.Preserve {
		return nil, api.Errorf(api.CodeInvalid, "a volume begins either as a snapshot or as what is preserved")
	}
	return g.restore(ctx, record, api.CloneRequest{Name: req.Name, Size: req.Size, Mode: req.Mode, Path: req.Path, Rate: req.Rate, Settings: req.Settings})
}

// restore makes a volume of a snapshot.
func (s *snapshots) restore(ctx context.Context, record *snapshot.Snapshot, req api.CloneRequest) (*api.Volume, error) {
	mode, place, err := checkMode(req.Mode, req.Path, false, req.Rate)
	if err != nil {
		return nil, err
	}
	size, err := cloneSize(req.Size, record.Size, "snapshot "+record.ID.String())
	if err != nil {
		return nil, err
	}
	n := volume.New{
		Name: req.Name, Size: size, Mode: mode, Root: &record.Root,
		Origin: &volume.Origin{Volume: record.VolumeName, Snapshot: record.ID, Time: record.Created},
	}
	if err := apply(req.Settings, &n); err != nil {
		return nil, err
	}
	return s.volumes.create(ctx, n, place, func() error {
		// Deleted before the clone was in the bucket, it may be garbage already.
		_, err := s.catalogue.Find(ctx, record.ID.String())
		return err
	})
}

// openTime bounds the wait for the bucket where a stored volume can be served without it.
const openTime = 5 * time.Second

// Open implements opener.
func (b *bucket) Open(ctx context.Context, head *volume.Head, force bool) (servedVolume, error) {
	return b.open(ctx, head, b.opts, force)
}

// TakeOver implements opener.
func (b *bucket) TakeOver(ctx context.Context, head *volume.Head) (servedVolume, error) {
	opts := b.opts
	opts.From = head.Nonce
	return b.open(ctx, head, opts, false)
}

func (b *bucket) open(ctx context.Context, head *volume.Head, opts volume.Options, force bool) (servedVolume, error) {
	switch head.Mode {
	case volume.Cached:
		v, err := volume.Open(ctx, head.ID, opts, force)
		if err != nil {
			return nil, err // not v: an interface with a nil inside is not nil
		}
		if v.Lease() != nil {
			return leasedVolume{cachedVolume{v}}, nil
		}
		return cachedVolume{v}, nil
	case volume.Stored:
		v, err := stored.Open(ctx, head.ID, b.stored(), force)
		if err != nil {
			return nil, err
		}
		return storedVolume{v}, nil
	}
	return nil, fmt.Errorf("volume %q has mode %q, which this sluice does not know: use a newer sluice", head.Name, head.Mode)
}

func (b *bucket) stored() stored.Options {
	o := b.opts
	return stored.Options{
		Store: o.Store, Cache: o.Cache, Dir: b.dir, Gateway: o.Gateway, Host: o.Host, Boot: o.Boot, Codec: o.Codec, Logger: o.Logger,
		Patience: openTime,
	}
}

// Place implements catalogue.
func (b *bucket) Place(id uuid.UUID, p stored.Placement) error { return stored.Place(b.dir, id, p) }

// Unplace implements catalogue.
func (b *bucket) Unplace(id uuid.UUID) error { return stored.Unplace(b.dir, id) }

// attachStored serves the stored volumes of this gateway while the bucket cannot be reached. The others wait for it.
func (v *volumes) attachStored(ctx context.Context, heads []*volume.Head) {
	var together sync.WaitGroup // each waits for the bucket for a while
	for _, head := range heads {
		if v.entry(head.Name) != nil {
			continue
		}
		together.Go(func() {
			if err := v.attach(ctx, head, false); err != nil {
				v.log.ErrorContext(ctx, "stored volume cannot be served without the bucket", "volume", head.Name, "error", err)
			}
		})
	}
	together.Wait()
}

// unreachable tells whether the bucket could not be asked.
func unreachable(err error) bool {
	return object.Transient(err) || errors.Is(err, object.ErrRefused) || errors.Is(err, context.DeadlineExceeded)
}
