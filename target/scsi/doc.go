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
// The life of a command: the transport fills a Command and submits it with others that
// arrived together. Unit.Admit looks it up, reports a unit attention that is due, checks
// reservations and reserved bits; the operation's Run completes it at once, or passes it to
// Unit.Go, which runs it in a goroutine that Abort can cancel. Complete gives it back.
//
// While no unit attention is due and nothing is reserved, admitting a command takes no lock.
package scsi
