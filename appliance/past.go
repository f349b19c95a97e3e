package appliance

import (
	"context"
	"fmt"
	"time"

	"sluice/appliance/api"
	"sluice/volume"
)

// pastKeeper is a volume that can go back: see volume.Volume.
type pastKeeper interface {
	Head() *volume.Head
	SetWindow(ctx context.Context, window time.Duration) error
	Upload(ctx context.Context) error
}

// history returns the head of a volume as fresh as it can be had, and the volume if this gateway serves it.
func (v *volumes) history(ctx context.Context, name string) (*volume.Head, servedVolume, error) {
	if e := v.entry(name); e != nil && e.vol != nil {
		if p, ok := e.vol.(pastKeeper); ok {
			return p.Head(), e.vol, nil
		}
	}
	head, err := v.bucket.Find(ctx, name)
	return head, nil, err
}

// RecoveryPoints implements api.Past.
func (v *volumes) RecoveryPoints(ctx context.Context, name string, limit int) (*api.RecoveryPoints, error) {
	if err := api.CheckName(name); err != nil {
		return nil, api.Errorf(api.CodeInvalid, "%w", err)
	}
	head, _, err := v.history(ctx, name)
	if err != nil {
		return nil, explain(err)
	}
	shown := &api.RecoveryPoints{Volume: head.Name, Window: head.Window, Points: []api.RecoveryPoint{}}
	for i, p := range head.Points {
		last := volume.Point{}
		last.Root.Position = head.Published
		if i+1 < len(head.Points) {
			last = head.Points[i+1]
		}
		shown.Points = append(shown.Points, api.RecoveryPoint{Time: p.Time, Moments: 1 + head.Segments(p, last)})
	}
	if limit == 0 || len(head.Points) == 0 {
		return shown, nil
	}
	moments, err := v.bucket.Moments(ctx, head, limit)
	if err != nil {
		return nil, explain(err)
	}
	for _, m := range moments {
		shown.Moments = append(shown.Moments, m.Time)
	}
	return shown, nil
}

// SetRecoveryWindow implements api.Past.
func (v *volumes) SetRecoveryWindow(ctx context.Context, name string, req api.WindowRequest) (*api.RecoveryPoints, error) {
	if req.Window < 0 {
		return nil, api.Errorf(api.CodeInvalid, "a recovery window cannot be negative")
	}
	release, err := v.claim(name)
	if err != nil {
		return nil, err
	}
	defer release()
	e, err := v.attached(ctx, name)
	if err != nil {
		return nil, err
	}
	p, ok := e.vol.(pastKeeper)
	if !ok {
		return nil, errNoPast(name)
	}
	if err := p.SetWindow(ctx, time.Duration(req.Window)*time.Second); err != nil {
		return nil, explain(err)
	}
	v.deleted() // what is not kept any more is garbage
	return v.RecoveryPoints(ctx, name, 0)
}

func errNoPast(name string) error {
	return api.Errorf(api.CodeConflict, "volume %s is a stored volume: it can go back to its snapshots only", name).WithHint("sluice snapshot list --volume %s", name)
}

// cloneAt makes a volume of what another one was at a time.
func (v *volumes) cloneAt(ctx context.Context, source string, req api.CloneRequest) (*api.Volume, error) {
	if req.At.After(time.Now()) {
		return nil, api.Errorf(api.CodeInvalid, "%s is in the future", req.At.Format(time.RFC3339))
	}
	head, vol, err := v.history(ctx, source)
	if err != nil {
		return nil, explain(err)
	}
	if head.Mode != volume.Cached {
		return nil, errNoPast(source)
	}
	if vol != nil {
		if oldest := vol.Stats().Oldest; !oldest.IsZero() && !oldest.After(*req.At) {
			// Of what was accepted before that time not all is in the bucket.
			p := vol.(pastKeeper) //nolint:forcetypeassert // history says so
			if err := p.Upload(ctx); err != nil {
				return nil, explain(fmt.Errorf("uploading what was written until then: %w", err))
			}
			head = p.Head()
		}
	}
	mode, place, err := checkMode(req.Mode, req.Path, false, req.Rate)
	if err != nil {
		return nil, err
	}
	if mode != volume.Cached {
		return nil, api.Errorf(api.CodeInvalid, "a volume of a recovery point is a cached one").WithHint("take a snapshot of it, and create a stored volume of that")
	}
	past, err := v.bucket.At(ctx, head, *req.At)
	if err != nil {
		return nil, explain(err)
	}
	size, err := cloneSize(req.Size, head.Size, "volume "+source)
	if err != nil {
		return nil, err
	}
	n := volume.New{
		Name: req.Name, Size: size, Mode: volume.Cached, Past: past,
		Origin: &volume.Origin{Volume: head.Name, Time: past.Time},
	}
	if err := apply(req.Settings, &n); err != nil {
		return nil, err
	}
	return v.create(ctx, n, place, func() error {
		// Forgotten before the clone was in the bucket, it may be garbage already.
		now, err := v.bucket.Find(ctx, source)
		if err == nil && !past.KeptBy(now) {
			err = fmt.Errorf("volume %q: %w", source, volume.ErrForgotten)
		}
		return err
	})
}

// cloneSize returns the size of a clone: what is asked for, if that is enough.
func cloneSize(asked, size int64, source string) (int64, error) {
	if asked == 0 {
		return size, nil
	}
	if asked < size {
		return 0, api.Errorf(api.CodeInvalid, "%s has %s, and a clone cannot be smaller", source, api.Size(size))
	}
	if err := api.CheckVolumeSize(api.Size(asked)); err != nil {
		return 0, api.Errorf(api.CodeInvalid, "%w", err)
	}
	return asked, nil
}
