// Package scsi is what all device servers share (SAM-5, SPC-4): commands between a
// transport and a device server, sense data, INQUIRY and VPD pages, mode pages, unit
// attentions, reservations, and the commands about commands.
//
// A device server embeds Unit and hands it a table of its own operations (Op). Everything
// that can be said of an operation is said there once: its CDB usage mask, from which
// reserved bits are checked and REPORT SUPPORTED OPERATION CODES is answered; how it gets on with
// reservations; how much data-out it takes. A disk is package sbc; a tape drive or a medium
// changer would be its sibling.
//
// # The life of a command
//
//	transport      fills a Command, and submits it with others that arrived together
//	Unit.Admit     looks it up; reports a unit attention that is due instead; checks
//	               reservations, then reserved bits
//	Op.Run         completes it at once, or passes it to
//	Unit.Go        which runs it in a goroutine that Unit.Abort can cancel, until
//	Unit.Finished  says that it touches nothing any more
//	Complete       gives it back, once: with an answer (Unit.Answer), with sense data
//	               (Unit.Fail), or as it is
//
// While no unit attention is due and nothing is reserved, admitting a command takes no lock;
// mode pages are read without one at any time.
//
// # Mode pages
//
// A page has four values (SPC-4 5.11): the default, the mask of what may be changed, the current one,
// and the saved one, which becomes current when the unit starts or is reset. Saved values are
// kept by a Registry; without one nothing can be saved, and MODE SENSE says so.
//
// # Reservations
//
// The state of persistent reservations is a plain value (registrations), and PERSISTENT
// RESERVE OUT a function from one such value to the next and to the unit attentions that come of
// it. It runs in a goroutine: the next value is saved first, where the initiator asked for
// that, and then put in the place of the one before. If it cannot be saved nothing has changed.
// Initiators are known by their port (name and ISID), so that their registrations outlive
// sessions. RESERVE and RELEASE of SPC-2 work, too, and end with the session.
//
// A third-party copy runs on one unit and touches the medium of another, too. There it is a guest
// (Unit.Join): the reservations of that unit count for it as well, by initiator name, since the
// session that it came over is with the first unit.
//
// PREEMPT AND ABORT is how clusters fence off a node that has gone astray. It is answered when no
// command of that node can reach the medium any more: those that run are cancelled and waited
// for; those that were admitted but have not begun are asked again (Unit.Enter, Unit.Go). Its
// guests are cancelled and waited for, too.
//
// # Another kind of device
//
// A device server for tapes or changers brings what Config and NewUnit ask for, and nothing of
// sbc: its Identity (type, VPD pages), its Ops, its ModePages and the device-specific parameter
// in their header, its log pages, the LUNs beside it.
package scsi
