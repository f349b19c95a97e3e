// Package initiator is a small iSCSI initiator for tests: one session, one command at a time, and an error for
// everything that goes wrong, so that a test decides what may.
//
//	s, err := initiator.Dial(ctx, gw.Portal, gw.IQN("demo"), 1)
//	err = s.Write(4096, data)
//	var refused *initiator.StatusError
//	errors.As(err, &refused)   the target answered, with a status other than GOOD
//
// Any other error means that the connection is lost, and with it the knowledge of whether the command was carried out.
// [Stamp] and [Stamped] make sectors that say who wrote them, so that one look at a sector tells which write it is of,
// and whether it is whole.
package initiator
