package appliance

import (
	"context"
	"time"

	"github.com/google/uuid"

	"sluice/appliance/api"
	"sluice/target"
	"sluice/target/login"
)

// ListInitiators implements api.Initiators.
func (v *volumes) ListInitiators(ctx context.Context, name string) (*api.InitiatorList, error) {
	id, err := v.identify(ctx, name)
	if err != nil {
		return nil, err
	}
	return &api.InitiatorList{Volume: name, Initiators: v.access.of(id).show().Initiators}, nil
}

// AllowInitiator implements api.Initiators.
func (v *volumes) AllowInitiator(ctx context.Context, name, initiator string) (*api.InitiatorList, error) {
	initiator, id, err := v.both(ctx, name, initiator)
	if err != nil {
		return nil, err
	}
	err = v.rule(ctx, name, id, "", func(r *ruling) error {
		r.allow(initiator)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return v.ListInitiators(ctx, name)
}

// DenyInitiator implements api.Initiators. Without its last initiator the access list is as if
// there were none: unless there is CHAP, only initiators on this machine may log in then.
func (v *volumes) DenyInitiator(ctx context.Context, name, initiator string) (*api.InitiatorList, error) {
	initiator, id, err := v.both(ctx, name, initiator)
	if err != nil {
		return nil, err
	}
	err = v.rule(ctx, name, id, initiator, func(r *ruling) error {
		if !r.deny(initiator) {
			return api.Errorf(api.CodeNotFound, "initiator %s is not on the access list of volume %s", initiator, name)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return v.ListInitiators(ctx, name)
}

// ListCHAP implements api.Credentials.
func (v *volumes) ListCHAP(ctx context.Context, name string) (*api.CHAPList, error) {
	id, err := v.identify(ctx, name)
	if err != nil {
		return nil, err
	}
	return &api.CHAPList{Volume: name, CHAP: v.access.of(id).show().CHAP}, nil
}

// SetCHAP implements api.Credentials.
func (v *volumes) SetCHAP(ctx context.Context, name, initiator string, req api.CHAPRequest) (*api.CHAPList, error) {
	if err := req.Check(); err != nil {
		return nil, api.Errorf(api.CodeInvalid, "%w", err)
	}
	initiator, id, err := v.both(ctx, name, initiator)
	if err != nil {
		return nil, err
	}
	err = v.rule(ctx, name, id, initiator, func(r *ruling) error {
		r.CHAP[initiator] = credentials(req)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return v.ListCHAP(ctx, name)
}

// DeleteCHAP implements api.Credentials.
func (v *volumes) DeleteCHAP(ctx context.Context, name, initiator string) (*api.CHAPList, error) {
	initiator, id, err := v.both(ctx, name, initiator)
	if err != nil {
		return nil, err
	}
	err = v.rule(ctx, name, id, initiator, func(r *ruling) error {
		if _, ok := r.CHAP[initiator]; !ok {
			return api.Errorf(api.CodeNotFound, "initiator %s has no CHAP credentials with volume %s", initiator, name)
		}
		delete(r.CHAP, initiator)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return v.ListCHAP(ctx, name)
}

// identify finds a volume's identity; the access rules hang on that, not on the name, so
// that a new volume never inherits those of a deleted one.
func (v *volumes) identify(ctx context.Context, name string) (uuid.UUID, error) {
	if err := api.CheckName(name); err != nil {
		return uuid.Nil, api.Errorf(api.CodeInvalid, "%w", err)
	}
	if e := v.entry(name); e != nil {
		return e.head.ID, nil
	}
	head, err := v.bucket.Find(ctx, name)
	if err != nil {
		return uuid.Nil, explain(err)
	}
	return head.ID, nil
}

// both identifies a volume, and brings the name of an initiator into the form in which
// names are compared.
func (v *volumes) both(ctx context.Context, name, initiator string) (string, uuid.UUID, error) {
	err := api.CheckInitiator(initiator)
	if err == nil {
		initiator, err = login.NormalizeName(initiator)
	}
	if err != nil {
		return "", uuid.Nil, api.Errorf(api.CodeInvalid, "%w", err)
	}
	id, err := v.identify(ctx, name)
	return initiator, id, err
}

// dropTime bounds the wait for the commands of sessions that are closed.
const dropTime = 10 * time.Second

// rule changes the rules of a volume. Then it closes the sessions of those who may not log in
// any more, and of changed in any case: its credentials are no longer those that it proved.
func (v *volumes) rule(ctx context.Context, name string, id uuid.UUID, changed string, change func(*ruling) error) error {
	if err := v.access.update(id, change); err != nil {
		return explain(err)
	}
	v.log.InfoContext(ctx, "access changed", "volume", name)
	if e := v.entry(name); e == nil || e.vol == nil {
		return nil
	}
	rules := v.access.of(id)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropTime) // also if the client has gone meanwhile
	defer cancel()
	err := v.exports.Drop(ctx, name, func(s target.SessionInfo) bool {
		_, refused := rules.admit(s.Initiator, loopbackText(s.Remote))
		return s.Initiator == changed || refused != nil
	})
	if err != nil {
		return explain(err)
	}
	return nil
}
