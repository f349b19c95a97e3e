package scsi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// Registry keeps what an initiator asked to survive a loss of power: persistent reservations
// (APTPL, SPC-4 5.12.5), or mode pages (SP, SPC-4 6.9). Save has returned before the initiator is
// answered; its context ends when the command is aborted.
type Registry interface {
	Load() ([]byte, error) // nothing, if nothing was saved
	Save(ctx context.Context, state []byte) error
}

// outlast tells whether registrations are to survive.
func (u *Unit) outlast(r *registrations) bool {
	return u.cfg.Registry != nil && (r.APTPL || u.cfg.Outlasting)
}

// save saves registrations if they are to survive and there are any, or else nothing.
func (u *Unit) save(ctx context.Context, r *registrations) (err error) {
	var body []byte
	if u.outlast(r) && len(r.Registrants) > 0 {
		body, err = json.Marshal(r)
	}
	if err == nil {
		err = u.cfg.Registry.Save(ctx, body)
	}
	if err != nil {
		return fmt.Errorf("saving persistent reservations: %w", err)
	}
	return nil
}

func (u *Unit) loadRegistrations() error {
	if u.cfg.Registry == nil {
		return nil
	}
	body, err := u.cfg.Registry.Load()
	if err == nil && len(body) > 0 {
		u.pr, err = parseRegistrations(body)
	}
	if err != nil {
		return fmt.Errorf("loading persistent reservations: %w", err)
	}
	u.updateRestricted()
	return nil
}

// parseRegistrations refuses what could not have been saved: a reservation that is not what
// it was would let somebody write who must not.
func parseRegistrations(body []byte) (r registrations, err error) {
	if err := json.Unmarshal(body, &r); err != nil {
		return registrations{}, err
	}
	if err := r.check(); err != nil {
		return registrations{}, err
	}
	return r, nil
}

// check tells what is wrong with registrations.
func (r *registrations) check() error {
	if len(r.Registrants) > maxRegistrants {
		return fmt.Errorf("%d registrants", len(r.Registrants))
	}
	for i, x := range r.Registrants {
		if x.Key == 0 || r.find(x.Port) != &r.Registrants[i] {
			return fmt.Errorf("registrant %q has no key or is there twice", x.Port.Name)
		}
	}
	switch {
	case r.reserved() && !r.Type.valid():
		return fmt.Errorf("a reservation of the unknown type %d", r.Type)
	case r.reserved() && len(r.Registrants) == 0:
		return errors.New("a reservation without registrants")
	case (r.reserved() && !r.Type.heldByAll()) != (r.Holder != nil):
		return fmt.Errorf("a reservation of type %d with the wrong kind of holder", r.Type)
	case r.Holder != nil && r.find(*r.Holder) == nil:
		return fmt.Errorf("the holder %q is not registered", r.Holder.Name)
	}
	return nil
}
