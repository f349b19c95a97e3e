package login

import (
	"crypto/rand"
	"fmt"
	"io"

	"sluice/target/pdu"
)

// Ask is what an initiator wants, as far as it has said before it authenticates.
type Ask struct {
	Initiator string // its name, normalized as by NormalizeName
	Target    string // the same; may be empty in a discovery session
	Discovery bool
	ISID      [6]byte
	TSIH      uint16 // not 0: it wants to join the session of that handle
	CID       uint16
}

// Access is what a target grants to an initiator that is allowed to log in.
type Access struct {
	CHAP *CHAP // the initiator must authenticate with these; nil if it need not
	// Insisted is for an initiator that need not authenticate, and offers nothing but CHAP: some ask so for discovery. nil: it is refused.
	Insisted    *CHAP
	TargetAlias string // declared to the initiator unless empty
	PortalGroup uint16 // target portal group tag
}

// CHAP holds the credentials of one initiator with one target. RFC 7143 9.2.1 wants
// secrets of at least 12 bytes, random, and different in each direction.
type CHAP struct {
	User         string // the name that the initiator must give (CHAP_N)
	Secret       Secret
	MutualUser   string // the name that the target gives in turn, if the initiator asks
	MutualSecret Secret // unset: an initiator that asks is refused
}

// Config is what the target's side supports and wants. The zero value of a limit means
// its default; a limit outside of its range is brought to the nearest end of it.
type Config struct {
	// Lookup is called once, when the first request has said who is there and what it
	// wants. It refuses by returning an *Error (see Refuse): LoginNotFound for an unknown
	// target, LoginForbidden for an initiator that may not, LoginNoSession for an unknown
	// TSIH. Any other error is answered with LoginTargetError. It must not be nil.
	Lookup func(Ask) (Access, error)
	// Rand is the source of challenges; by default crypto/rand.Reader.
	Rand io.Reader

	MaxRecvDataSegmentLength int  // bytes of data in a PDU to us; 8192 to 2^24-1, default 262144
	MaxBurstLength           int  // bytes; 262144 to 2^24-1, default 16 MiB - 512
	FirstBurstLength         int  // bytes; 65536 to 2^24-1, default 262144
	MaxOutstandingR2T        int  // 1 to 65535, default 16
	InitialR2T               bool // forbid unsolicited Data-Out PDUs
	RefuseDigests            bool // support no digest but None
	ProtocolLevel            int  // iSCSIProtocolLevel; 1 (RFC 7143, the default) or 2 (RFC 7144)
	// Algorithms are those acceptable for CHAP; by default SHA-256, SHA3-256 and MD5. The
	// initiator's order of preference decides between them (RFC 7143 6.2.1, 12.1.3).
	Algorithms []Algorithm
}

func (c Config) withDefaults() Config {
	limit := func(v *int, lo, hi, def int) {
		if *v == 0 {
			*v = def
		}
		*v = min(max(*v, lo), hi)
	}
	limit(&c.MaxRecvDataSegmentLength, 8192, pdu.MaxDataLength, 256<<10)
	limit(&c.MaxBurstLength, 256<<10, pdu.MaxDataLength, 16<<20-512)
	limit(&c.FirstBurstLength, 64<<10, c.MaxBurstLength, 256<<10)
	limit(&c.MaxOutstandingR2T, 1, 65535, 16)
	limit(&c.ProtocolLevel, 1, 2, 1)
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	if len(c.Algorithms) == 0 {
		c.Algorithms = []Algorithm{SHA256, SHA3256, MD5}
	}
	return c
}

// Error says that a login was refused, with the status that tells the initiator and a
// cause for the log, which the initiator does not see.
type Error struct {
	Status pdu.LoginStatus
	Err    error
}

// Error returns the cause and the status.
func (e *Error) Error() string {
	return fmt.Sprintf("login refused with status %04x: %v", uint16(e.Status), e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Refuse returns an *Error with a cause formatted as by fmt.Errorf.
func Refuse(status pdu.LoginStatus, format string, args ...any) error {
	return &Error{Status: status, Err: fmt.Errorf(format, args...)}
}
