package appliance

import (
	"context"
	"errors"

	"sluice/appliance/api"
	"sluice/volume"
)

// durableVolume is a volume whose flushes can wait for more than local disk.
type durableVolume interface {
	SetDurability(ctx context.Context, d volume.Durability, writeThrough bool) error
}

// SetDurability implements api.Volumes.
func (v *volumes) SetDurability(ctx context.Context, name string, req api.DurabilityRequest) (*api.Volume, error) {
	release, err := v.claim(name)
	if err != nil {
		return nil, err
	}
	defer release()
	e, err := v.attached(ctx, name)
	if err != nil {
		return nil, err
	}
	d, err := checkDurability(req.Durability, e.head.Mode)
	if err == nil && d == "" {
		err = api.Errorf(api.CodeInvalid, "say which durability")
	}
	if err != nil {
		return nil, err
	}
	vol, ok := e.vol.(durableVolume)
	if !ok {
		if req.WriteThrough != nil && *req.WriteThrough {
			return nil, errOnlyCached()
		}
		return v.describe(e), nil // it is local already
	}
	head := new(*e.head)
	if head.Durability = d; req.WriteThrough != nil {
		head.WriteThrough = *req.WriteThrough
	}
	set := func(ctx context.Context) error { return vol.SetDurability(ctx, d, head.WriteThrough) }
	if head.WriteThrough == e.head.WriteThrough {
		err = set(ctx)
	} else {
		err = v.exportAnew(ctx, e, head, set)
	}
	if err != nil {
		return nil, explain(err)
	}
	e = &entry{head: head, vol: e.vol}
	v.set(name, e)
	v.log.InfoContext(ctx, "durability set", "volume", name, "durability", string(d), "write_through", head.WriteThrough)
	return v.describe(e), nil
}

// exportAnew makes a change that initiators notice when they log in only: whether there is a write cache. One who believes that there is none would
// never flush.
func (v *volumes) exportAnew(ctx context.Context, e *entry, head *volume.Head, change func(context.Context) error) error {
	if err := v.nobodyIn(head.Name, ""); err != nil {
		return err
	}
	if err := v.exports.Withdraw(ctx, head.Name); err != nil {
		return err
	}
	err := change(ctx)
	if err != nil {
		head = e.head
	}
	return errors.Join(err, v.exports.Export(head, e.vol))
}

// nobodyIn refuses what may not be done to a volume that is in use. Or is the end of the hint.
func (v *volumes) nobodyIn(name, or string) error {
	sessions := v.exports.Sessions(name)
	if len(sessions) == 0 {
		return nil
	}
	return api.Errorf(api.CodeConflict, "%d initiators are logged in to volume %s, the first is %s", len(sessions), name, sessions[0].Initiator).
		WithHint("log out there (iscsiadm --mode node --targetname %s --logout)%s", api.IQN(name), or)
}

// checkDurability reads what flushes shall wait for.
func checkDurability(text string, mode volume.Mode) (volume.Durability, error) {
	d := volume.Durability(text)
	switch {
	case text == "":
		return "", nil
	case !d.Valid():
		return "", api.Errorf(api.CodeInvalid, "there is no durability %q", text).WithHint("it is local, peer or bucket")
	case mode == volume.Stored && d != volume.Local:
		return "", errOnlyCached()
	}
	return d, nil
}

func errOnlyCached() error {
	return api.Errorf(api.CodeInvalid, "the data of a stored volume is on this gateway: only its snapshots are in the bucket").
		WithHint("create a cached volume")
}
