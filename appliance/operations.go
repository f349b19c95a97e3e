package appliance

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"sluice/appliance/api"
	"sluice/object"
	"sluice/snapshot"
	"sluice/target"
	"sluice/volume"
	"sluice/volume/stored"
)

// CreateVolume implements api.Volumes.
func (v *volumes) CreateVolume(ctx context.Context, req api.CreateRequest) (*api.Volume, error) {
	mode, place, err := checkMode(req.Mode, req.Path, req.Preserve, req.Rate)
	if err != nil {
		return nil, err
	}
	if err := api.CheckVolumeSize(api.Size(req.Size)); err != nil {
		return nil, api.Errorf(api.CodeInvalid, "%w", err)
	}
	n := volume.New{Name: req.Name, Size: req.Size, Mode: mode}
	if err := apply(req.Settings, &n); err != nil {
		return nil, err
	}
	return v.create(ctx, n, place, func() error { return nil })
}

// apply gives a new volume, whose mode is known, its settings.
func apply(s api.Settings, n *volume.New) (err error) {
	n.Window = volume.DefaultWindow
	if s.Window != nil {
		n.Window = time.Duration(*s.Window) * time.Second
	}
	if n.Window < 0 {
		return api.Errorf(api.CodeInvalid, "a recovery window cannot be negative")
	}
	if n.Mode == volume.Stored { // its past is its snapshots
		n.Window = 0
	}
	if s.WriteThrough && n.Mode == volume.Stored {
		return errOnlyCached()
	}
	n.WriteThrough = s.WriteThrough
	n.Durability, err = checkDurability(s.Durability, n.Mode)
	return err
}

// create makes a volume and serves it. Once it is in the bucket, stands tells whether what it begins with is
// still there.
func (v *volumes) create(ctx context.Context, n volume.New, place stored.Placement, stands func() error) (*api.Volume, error) {
	release, err := v.claim(n.Name)
	if err != nil {
		return nil, err
	}
	defer release()
	head, err := v.bucket.Create(ctx, n)
	if err != nil {
		return nil, explain(err)
	}
	if err := stands(); err != nil {
		return nil, explain(errors.Join(err, v.bucket.Delete(ctx, n.Name)))
	}
	if n.Mode == volume.Stored {
		if err := v.bucket.Place(head.ID, place); err != nil {
			return nil, explain(errors.Join(err, v.bucket.Delete(ctx, n.Name)))
		}
	}
	if err := v.attach(ctx, head, false); err != nil {
		if errors.Is(err, stored.ErrUnfit) { // nothing was begun
			return nil, explain(errors.Join(err, v.bucket.Delete(ctx, n.Name), v.bucket.Unplace(head.ID)))
		}
		e := explain(err)
		e.Message = "the volume was created, but not attached: " + e.Message
		return nil, e.WithHint("run sluice volume attach %s", n.Name)
	}
	e := v.entry(n.Name)
	if n.Mode == volume.Cached && place.Rate > 0 && (n.Root != nil || n.Past != nil) {
		v.hydrate(e, place.Rate) //nolint:contextcheck // in the background
	}
	return v.describe(e), nil
}

// ListVolumes implements api.Volumes.
func (v *volumes) ListVolumes(ctx context.Context) ([]api.Volume, error) {
	heads, err := v.bucket.List(ctx)
	if err != nil {
		return nil, explain(err)
	}
	list := make([]api.Volume, 0, len(heads))
	for _, head := range heads {
		if e := v.entry(head.Name); e != nil && e.head.ID == head.ID {
			list = append(list, *v.describe(e))
			continue
		}
		list = append(list, *v.describeOther(head))
	}
	return list, nil
}

// ShowVolume implements api.Volumes.
func (v *volumes) ShowVolume(ctx context.Context, name string) (*api.Volume, error) {
	if err := api.CheckName(name); err != nil {
		return nil, api.Errorf(api.CodeInvalid, "%w", err)
	}
	if e := v.entry(name); e != nil {
		shown := v.describe(e)
		if e.vol != nil {
			shown.Allocated = allocated(ctx, e.vol)
		}
		return shown, nil
	}
	head, err := v.bucket.Find(ctx, name)
	if err != nil {
		return nil, explain(err)
	}
	return v.describeOther(head), nil
}

// ResizeVolume implements api.Volumes.
func (v *volumes) ResizeVolume(ctx context.Context, name string, req api.ResizeRequest) (*api.Volume, error) {
	if err := api.CheckVolumeSize(api.Size(req.Size)); err != nil {
		return nil, api.Errorf(api.CodeInvalid, "%w", err)
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
	if size := e.vol.Size(); req.Size < size {
		return nil, api.Errorf(api.CodeInvalid, "volume %s has %s and cannot shrink to %s: what is behind the new end would be lost",
			name, api.Size(size), api.Size(req.Size))
	}
	if err := e.vol.Resize(ctx, req.Size); err != nil {
		return nil, explain(err)
	}
	v.exports.Grown(name)
	v.log.InfoContext(ctx, "volume resized", "volume", name, "size", api.Size(req.Size).String())
	return v.describe(e), nil
}

// AttachVolume implements api.Attachments. To attach a volume that is attached here already
// is no error.
func (v *volumes) AttachVolume(ctx context.Context, name string, req api.AttachRequest) (*api.Volume, error) {
	release, err := v.claim(name)
	if err != nil {
		return nil, err
	}
	defer release()
	if e := v.entry(name); e != nil {
		if e.failure() == "" {
			return v.describe(e), nil
		}
		if err := v.takeDown(ctx, e); err != nil {
			return nil, explain(err)
		}
	}
	head, err := v.bucket.Find(ctx, name)
	if err != nil {
		return nil, explain(err)
	}
	if !v.owns(head) {
		if err := v.forgetHere(head.ID); err != nil {
			return nil, explain(err)
		}
	}
	if err := v.attach(ctx, head, req.Force); err != nil {
		return nil, explain(err)
	}
	return v.describe(v.entry(name)), nil
}

// forgetHere drops what is kept here about a volume that others serve, or may have served since we did.
func (v *volumes) forgetHere(id uuid.UUID) error {
	return errors.Join(v.exports.Forget(id), v.imports.forget(id))
}

// takeDown closes a volume that has failed.
func (v *volumes) takeDown(ctx context.Context, e *entry) error {
	if e.vol != nil {
		if err := v.exports.Withdraw(ctx, e.head.Name); err != nil {
			return err
		}
		if err := e.vol.Close(); err != nil { // it has failed before: this adds nothing that could be mended
			v.log.WarnContext(ctx, "closing a failed volume", "volume", e.head.Name, "error", err)
		}
	}
	v.set(e.head.Name, nil)
	return nil
}

// DetachVolume implements api.Attachments.
func (v *volumes) DetachVolume(ctx context.Context, name string, req api.DetachRequest) (*api.Volume, error) {
	release, err := v.claim(name)
	if err != nil {
		return nil, err
	}
	defer release()
	head, err := v.bucket.Find(ctx, name)
	if err != nil {
		return nil, explain(err)
	}
	if e := v.entry(name); e != nil && e.failure() != "" && !v.owns(head) {
		// Another gateway has taken it: nothing is left to be given up but our side.
		if err := v.takeDown(ctx, e); err != nil {
			return nil, explain(err)
		}
		return v.describeOther(head), nil
	}
	e, err := v.attached(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := v.giveUp(ctx, e, req.Force, e.vol.Detach); err != nil {
		return nil, err
	}
	if head, err = v.bucket.Find(ctx, name); err != nil {
		return nil, explain(err)
	}
	return v.describeOther(head), nil
}

// owns tells whether a volume is this gateway's, by what the bucket says.
func (v *volumes) owns(head *volume.Head) bool {
	return head.Owner != nil && head.Owner.Gateway == v.gateway.String()
}

// giveUp ends the serving of a volume: leave gives it up so that any gateway may attach or
// delete it.
func (v *volumes) giveUp(ctx context.Context, e *entry, force bool, leave func(context.Context) error) error {
	name := e.head.Name
	if !force {
		if err := v.nobodyIn(name, ", or use --force"); err != nil {
			return err
		}
	}
	if err := v.exports.Withdraw(ctx, name); err != nil {
		return explain(err)
	}
	if err := leave(ctx); err != nil {
		// It is still ours, and goes on being served.
		if xerr := v.exports.Export(e.head, e.vol); xerr != nil {
			err = errors.Join(err, xerr)
		}
		return explain(err)
	}
	v.set(name, nil)
	v.log.InfoContext(ctx, "volume detached", "volume", name)
	if err := v.forgetHere(e.head.ID); err != nil {
		return explain(err)
	}
	return nil
}

// DeleteVolume implements api.Volumes.
func (v *volumes) DeleteVolume(ctx context.Context, name string, force bool) error {
	release, err := v.claim(name)
	if err != nil {
		return err
	}
	defer release()
	head, err := v.bucket.Find(ctx, name)
	if err != nil {
		return explain(err)
	}
	if e := v.entry(name); e != nil {
		if e.failure() != "" {
			return api.Errorf(api.CodeConflict, "volume %s has failed: %s", name, e.failure()).WithHint("run sluice volume attach %s first", name)
		}
		if err := v.giveUp(ctx, e, force, e.vol.Abandon); err != nil {
			return err
		}
	}
	if err := v.bucket.Delete(ctx, name); err != nil {
		return explain(err)
	}
	if err := v.bucket.Unplace(head.ID); err != nil { // what a stored volume left here when it was detached
		return explain(err)
	}
	v.deleted()
	v.log.InfoContext(ctx, "volume deleted", "volume", name, "id", head.ID)
	if err := v.access.forget(head.ID); err != nil {
		return explain(err)
	}
	return nil
}

// attached returns a volume that this gateway serves.
func (v *volumes) attached(ctx context.Context, name string) (*entry, error) {
	e := v.entry(name)
	if e == nil {
		if _, err := v.bucket.Find(ctx, name); err != nil {
			return nil, explain(err)
		}
		return nil, api.Errorf(api.CodeConflict, "volume %s is not attached to this gateway", name).WithHint("run sluice volume attach %s", name)
	}
	if e.vol == nil {
		return nil, api.Errorf(api.CodeConflict, "volume %s has failed: %w", name, e.err).WithHint("run sluice volume attach %s", name)
	}
	return e, nil
}

// explain turns an error from below into one that says what to do about it.
func explain(err error) *api.Error {
	if e, ok := errors.AsType[*api.Error](err); ok {
		return e
	}
	switch {
	case errors.Is(err, volume.ErrNotFound):
		return api.Errorf(api.CodeNotFound, "%w", err).WithHint("sluice volume list shows all")
	case errors.Is(err, snapshot.ErrNotFound):
		return api.Errorf(api.CodeNotFound, "%w", err).WithHint("sluice snapshot list shows all")
	case errors.Is(err, snapshot.ErrNoSchedule):
		return api.Errorf(api.CodeNotFound, "%w", err).WithHint("sluice snapshot schedule list shows all")
	case errors.Is(err, snapshot.ErrNothingLeft):
		return api.Errorf(api.CodeConflict, "%w", err)
	case errors.Is(err, snapshot.ErrAmbiguous):
		return api.Errorf(api.CodeInvalid, "%w", err)
	case errors.Is(err, volume.ErrForgotten), errors.Is(err, volume.ErrNoPast):
		return api.Errorf(api.CodeNotFound, "%w", err).WithHint("sluice volume recovery-points NAME shows how far it reaches")
	case errors.Is(err, stored.ErrUnfit), errors.Is(err, stored.ErrStale), errors.Is(err, stored.ErrNoData):
		return api.Errorf(api.CodeConflict, "%w", err)
	case errors.Is(err, volume.ErrExists):
		return api.Errorf(api.CodeConflict, "%w", err)
	case errors.Is(err, volume.ErrOwned):
		return api.Errorf(api.CodeConflict, "%w", err).WithHint("detach it there; if that gateway is gone, run sluice volume attach NAME --force here: " +
			"what it had not uploaded is lost")
	case errors.Is(err, volume.ErrLost), errors.Is(err, target.ErrClosed), errors.Is(err, volume.ErrClosed):
		return api.Errorf(api.CodeConflict, "%w", err)
	case errors.Is(err, object.ErrRefused):
		return api.Errorf(api.CodeUnavailable, "%w", err).WithHint("check the credentials and the bucket")
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), object.Transient(err):
		return api.Errorf(api.CodeUnavailable, "%w", err).WithHint("the object store did not answer in time: see sluice status and the log")
	}
	return api.AsError(err)
}
