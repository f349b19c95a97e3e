package login

import (
	"slices"
	"strconv"
	"strings"

	"sluice/target/pdu"
)

// Keys of RFC 7143 section 13 that are handled by name; the numbers and booleans are in
// the tables below.
const (
	keyHeaderDigest             = "HeaderDigest"
	keyDataDigest               = "DataDigest"
	keyMaxRecvDataSegmentLength = "MaxRecvDataSegmentLength"
	keyTaskReporting            = "TaskReporting"
	keyTargetAlias              = "TargetAlias"
	keyTargetAddress            = "TargetAddress"
	keyTargetPortalGroupTag     = "TargetPortalGroupTag"
	keySendTargets              = "SendTargets"
	keyIFMarker                 = "IFMarker"
	keyOFMarker                 = "OFMarker"
	keyIFMarkInt                = "IFMarkInt"
	keyOFMarkInt                = "OFMarkInt"
	keyMaxBurstLength           = "MaxBurstLength"
	keyFirstBurstLength         = "FirstBurstLength"
	keyNodeArchitecture         = "X#NodeArchitecture"
)

const (
	digestCRC32C  = "CRC32C"
	taskReporting = "RFC3720" // the only semantics of task reporting that we have
	minSegment    = 512       // least value of the length keys
)

// number is how a numeric key is negotiated: the smaller of both values, or the larger.
type number struct {
	value      *int
	ours       int
	lo, hi     int
	larger     bool
	normalOnly bool // irrelevant in a discovery session
}

func (m *Machine) number(key string) (number, bool) {
	p, c := &m.params, &m.cfg
	switch key {
	case "MaxConnections": // 13.2
		return number{&p.MaxConnections, 1, 1, 65535, false, true}, true
	case keyMaxBurstLength: // 13.13
		return number{&p.MaxBurstLength, c.MaxBurstLength, minSegment, pdu.MaxDataLength, false, true}, true
	case keyFirstBurstLength: // 13.14
		ours := min(c.FirstBurstLength, p.MaxBurstLength)
		return number{&p.FirstBurstLength, ours, minSegment, pdu.MaxDataLength, false, true}, true
	case "DefaultTime2Wait": // 13.15
		return number{&p.DefaultTime2Wait, 0, 0, 3600, true, false}, true
	case "DefaultTime2Retain": // 13.16: with ErrorRecoveryLevel 0 nothing is retained
		return number{&p.DefaultTime2Retain, 0, 0, 3600, false, false}, true
	case "MaxOutstandingR2T": // 13.17
		return number{&p.MaxOutstandingR2T, c.MaxOutstandingR2T, 1, 65535, false, true}, true
	case "ErrorRecoveryLevel": // 13.20
		return number{&p.ErrorRecoveryLevel, 0, 0, 2, false, false}, true
	case "iSCSIProtocolLevel": // 13.24
		return number{&p.ProtocolLevel, c.ProtocolLevel, 0, 31, false, true}, true
	}
	return number{}, false
}

// boolean is how a boolean key is negotiated: the OR of both values, or the AND. All are
// irrelevant in a discovery session.
type boolean struct {
	value *bool
	ours  bool
	or    bool
}

func (m *Machine) boolean(key string) (boolean, bool) {
	p := &m.params
	switch key {
	case "InitialR2T": // 13.10
		return boolean{&p.InitialR2T, m.cfg.InitialR2T, true}, true
	case "ImmediateData": // 13.11
		return boolean{&p.ImmediateData, true, false}, true
	case "DataPDUInOrder": // 13.18
		return boolean{&p.DataPDUInOrder, true, true}, true
	case "DataSequenceInOrder": // 13.19
		return boolean{&p.DataSequenceInOrder, true, true}, true
	}
	return boolean{}, false
}

// known tells whether a key belongs to RFC 7143.
func known(key string) bool {
	switch key {
	case keyHeaderDigest, keyDataDigest, keyMaxRecvDataSegmentLength, keyTaskReporting,
		keyTargetAlias, keyTargetAddress, keyTargetPortalGroupTag, keySendTargets,
		keyIFMarker, keyOFMarker, keyIFMarkInt, keyOFMarkInt, keyNodeArchitecture:
		return true
	}
	var m Machine
	_, isNumber := m.number(key)
	_, isBoolean := m.boolean(key)
	return isNumber || isBoolean || isIdentity(key) || new(offers).field(key) != nil
}

// negotiate takes the keys of a text in the operational stage.
func (m *Machine) negotiate(pairs []Pair) error {
	// What FirstBurstLength may be depends on these.
	slices.SortStableFunc(pairs, func(a, b Pair) int { return rank(a.Key) - rank(b.Key) })
	for _, p := range pairs {
		if new(offers).field(p.Key) != nil {
			return Refuse(pdu.LoginInitiatorError, "%s in the operational stage", p.Key)
		}
		if answer, ok := m.settle(p); ok {
			m.reply(p.Key, answer)
			continue
		}
		if err := m.other(p); err != nil {
			return err
		}
	}
	m.params.FirstBurstLength = min(m.params.FirstBurstLength, m.params.MaxBurstLength)
	if !m.declared {
		m.declared = true
		m.params.MaxRecvDataSegmentLength = m.cfg.MaxRecvDataSegmentLength
		m.reply(keyMaxRecvDataSegmentLength, formatNumber(m.cfg.MaxRecvDataSegmentLength))
	}
	return nil
}

func rank(key string) int {
	if key == keyFirstBurstLength {
		return 1
	}
	return 0
}

// settle negotiates a key of the operational stage and returns the answer; ok is false
// for all other keys.
func (m *Machine) settle(p Pair) (answer string, ok bool) {
	if n, ok := m.number(p.Key); ok {
		return m.settleNumber(p, n), true
	}
	if b, ok := m.boolean(p.Key); ok {
		return m.settleBoolean(p, b), true
	}
	switch p.Key {
	case keyHeaderDigest:
		return m.settleDigest(p.Value, &m.params.HeaderDigest), true
	case keyDataDigest:
		return m.settleDigest(p.Value, &m.params.DataDigest), true
	case keyTaskReporting:
		switch {
		case m.params.Discovery:
			return valueIrrelevant, true
		case slices.Contains(strings.Split(p.Value, ","), taskReporting):
			return taskReporting, true
		}
		return valueReject, true
	case keyIFMarker, keyOFMarker:
		// 13.25 wants Reject and allows No. Initiators that still offer these want to hear No.
		return valueNo, true
	case keyIFMarkInt, keyOFMarkInt:
		return valueReject, true
	}
	return "", false
}

func (m *Machine) settleNumber(p Pair, n number) string {
	irrelevant := n.normalOnly && m.params.Discovery ||
		p.Key == keyFirstBurstLength && m.params.InitialR2T && !m.params.ImmediateData
	if irrelevant {
		return valueIrrelevant
	}
	v, ok := parseNumber(p.Value)
	if !ok || v < uint64(n.lo) || v > uint64(n.hi) {
		return valueReject
	}
	if n.larger {
		*n.value = max(int(v), n.ours)
	} else {
		*n.value = min(int(v), n.ours)
	}
	return formatNumber(*n.value)
}

func (m *Machine) settleBoolean(p Pair, b boolean) string {
	if m.params.Discovery {
		return valueIrrelevant
	}
	v, ok := parseBool(p.Value)
	if !ok {
		return valueReject
	}
	if b.or {
		*b.value = v || b.ours
	} else {
		*b.value = v && b.ours
	}
	return formatBool(*b.value)
}

func (m *Machine) settleDigest(list string, on *bool) string {
	for value := range strings.SplitSeq(list, ",") {
		if value == valueNone || value == digestCRC32C && !m.cfg.RefuseDigests {
			*on = value == digestCRC32C
			return value
		}
	}
	return valueReject
}

// other takes a key that is not negotiated in the current stage.
func (m *Machine) other(p Pair) error {
	switch {
	case p.Key == keyNodeArchitecture: // 13.26: a declaration that wants no answer
		return nil
	case p.Key == keyMaxRecvDataSegmentLength && m.stage == pdu.StageOperational:
		n, ok := parseNumber(p.Value)
		if !ok || n < minSegment || n > pdu.MaxDataLength {
			return Refuse(pdu.LoginInitiatorError, "%s is not a number from 512 to 2^24-1", p.Key)
		}
		m.params.MaxSendDataSegmentLength = int(n)
		return nil
	case known(p.Key):
		return Refuse(pdu.LoginInitiatorError, "%s does not belong in stage %d", p.Key, m.stage)
	default: // a later RFC's, or somebody's own: X-, X#, Y-, Z-
		m.reply(p.Key, valueNotUnderstood)
		return nil
	}
}

func formatNumber(n int) string { return strconv.Itoa(n) }
