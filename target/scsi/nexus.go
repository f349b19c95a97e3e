package scsi

// Nexus is an I_T nexus (SAM-5 4.7): one initiator port seen through one target port. A
// transport makes one for each session and passes the same pointer with every command.
type Nexus struct {
	Initiator string  // iSCSI name of the initiator
	ISID      [6]byte // with the name: the initiator port
	Portal    uint16  // target portal group tag: the target port
}
