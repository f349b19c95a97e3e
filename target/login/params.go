package login

import (
	"strings"

	"sluice/target/pdu"
)

// Params is what a login has settled: who is there, and the operational parameters of
// RFC 7143 section 13, lengths in bytes and times in seconds.
type Params struct {
	Initiator      string // normalized
	InitiatorAlias string
	Target         string // normalized; may be empty in a discovery session
	Discovery      bool
	ISID           [6]byte
	CID            uint16
	CmdSN          pdu.SN    // of the first request: the session's first ExpCmdSN
	ExpStatSN      pdu.SN    // of the first request: a good initial StatSN
	PortalGroup    uint16    // target portal group tag
	User           string    // the name that CHAP has authenticated, or ""
	Algorithm      Algorithm // that CHAP used, or 0
	Mutual         bool      // the target has authenticated itself too

	HeaderDigest             bool // CRC32C
	DataDigest               bool
	MaxRecvDataSegmentLength int // the most that the initiator may send in one PDU
	MaxSendDataSegmentLength int // the most that it takes in one
	MaxConnections           int
	InitialR2T               bool
	ImmediateData            bool
	MaxBurstLength           int
	FirstBurstLength         int // at most MaxBurstLength
	DefaultTime2Wait         int
	DefaultTime2Retain       int
	MaxOutstandingR2T        int
	DataPDUInOrder           bool
	DataSequenceInOrder      bool
	ErrorRecoveryLevel       int
	TaskReporting            string
	ProtocolLevel            int
}

// defaults are the values of RFC 7143 section 13 for keys that nobody mentions.
func defaults() Params {
	return Params{
		MaxRecvDataSegmentLength: 8192,
		MaxSendDataSegmentLength: 8192,
		MaxConnections:           1,
		InitialR2T:               true,
		ImmediateData:            true,
		MaxBurstLength:           262144,
		FirstBurstLength:         65536,
		DefaultTime2Wait:         2,
		DefaultTime2Retain:       20,
		MaxOutstandingR2T:        1,
		DataPDUInOrder:           true,
		DataSequenceInOrder:      true,
		TaskReporting:            taskReporting,
		ProtocolLevel:            1,
	}
}

// Offer takes a key that the initiator sends in a Text Request of the full feature phase
// (RFC 7143 6.4) other than SendTargets, which is the caller's. It updates p and returns
// the value to answer with; reply is false if the key wants no answer. An error means a
// declaration of an impossible value: a protocol error.
func (p *Params) Offer(key Pair) (value string, reply bool, err error) {
	switch {
	case isAnswer(key.Value):
		return "", false, nil
	case key.Key == keyMaxRecvDataSegmentLength:
		n, ok := parseNumber(key.Value)
		if !ok || n < minSegment || n > pdu.MaxDataLength {
			return "", false, Refuse(pdu.LoginInitiatorError, "%s is not a number from 512 to 2^24-1", key.Key)
		}
		p.MaxSendDataSegmentLength = int(n)
		return "", false, nil
	case key.Key == keyInitiatorAlias:
		p.InitiatorAlias = strings.ToValidUTF8(key.Value, "?")
		return "", false, nil
	case key.Key == keyNodeArchitecture:
		return "", false, nil
	case known(key.Key):
		return valueReject, true, nil // it belongs to the login phase
	default:
		return valueNotUnderstood, true, nil
	}
}
