package appliance

import (
	"net"
	"net/netip"
	"slices"

	"sluice/target/login"
	"sluice/target/pdu"
)

// Authorize implements target.Authorizer: the rules of the package comment.
func (v *volumes) Authorize(initiator, targetName string, remote net.Addr) (login.Access, error) {
	local := loopback(remote)
	if targetName == "" {
		return v.authorizeDiscovery(initiator, local)
	}
	e := v.byTarget(targetName)
	if head := v.standingFor(targetName); e == nil && head != nil {
		credentials, err := v.access.of(head.ID).admit(initiator, local)
		return login.Access{CHAP: credentials, TargetAlias: head.Name}, err
	}
	if e == nil {
		return login.Access{}, login.Refuse(pdu.LoginNotFound, "there is no volume for target %s", targetName)
	}
	if err := v.notImported(e); err != nil {
		return login.Access{}, err
	}
	if lease := leaseOf(e.vol); lease != nil && !lease.Held() {
		return login.Access{}, login.Refuse(pdu.LoginUnavailable, "the volume's lease has run out: this gateway has lost touch with the bucket, or the volume")
	}
	credentials, err := v.access.of(e.head.ID).admit(initiator, local)
	return login.Access{CHAP: credentials, TargetAlias: e.head.Name}, err
}

// notImported tells whether no image is being imported into a volume, and none is there in part.
func (v *volumes) notImported(e *entry) error {
	if h := v.holds.get(e.head.Name); h != nil {
		if h.force {
			return nil
		}
		return login.Refuse(pdu.LoginUnavailable, "the volume is being written to over the API")
	}
	if _, unfinished := v.imports.of(e.head.ID); unfinished {
		return login.Refuse(pdu.LoginUnavailable, "the volume holds a part of an image: go on with \"sluice volume import %s --resume\", "+
			"or import another one", e.head.Name)
	}
	return nil
}

// admit tells whether an initiator may log in, and with which credentials. The refusal names
// the remedy; it goes to the log only.
func (r *ruling) admit(initiator string, local bool) (*login.CHAP, error) {
	if r.open() {
		if !local {
			return nil, login.Refuse(pdu.LoginForbidden, "the volume has neither an access list nor CHAP, so only initiators on this machine may log in: "+
				"run \"sluice initiator allow VOLUME --iqn %s\" or \"sluice chap set\"", initiator)
		}
		return nil, nil
	}
	if _, listed := slices.BinarySearch(r.Initiators, initiator); len(r.Initiators) > 0 && !listed {
		return nil, login.Refuse(pdu.LoginForbidden, "initiator %s is not on the volume's access list", initiator)
	}
	if len(r.CHAP) == 0 {
		return nil, nil
	}
	c, ok := r.CHAP[initiator]
	if !ok {
		return nil, login.Refuse(pdu.LoginForbidden, "initiator %s has no CHAP credentials with the volume, and others have", initiator)
	}
	return c.login(), nil
}

// authorizeDiscovery lets those ask for the targets who might log in to one of them. They need not authenticate; one that insists on
// it does so with what it has for the first of them.
func (v *volumes) authorizeDiscovery(initiator string, local bool) (login.Access, error) {
	access, admitted := login.Access{}, local
	for _, e := range v.serving() {
		credentials, err := v.access.of(e.head.ID).admit(initiator, local)
		if err != nil {
			continue
		}
		admitted = true
		if credentials != nil {
			access.Insisted = credentials
			break
		}
	}
	if admitted {
		return access, nil
	}
	return access, login.Refuse(pdu.LoginForbidden, "initiator %s may log in to no volume", initiator)
}

// loopback tells whether an address is of this machine's loopback.
func loopback(remote net.Addr) bool {
	address, err := netip.ParseAddrPort(remote.String())
	return err == nil && address.Addr().Unmap().IsLoopback()
}
