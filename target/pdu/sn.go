package pdu

// SN is a serial number: CmdSN, StatSN, DataSN, R2TSN. It wraps around after 2^32-1 and
// is compared by the rules of RFC 1982, as RFC 7143 4.2.2.1 asks. Two numbers exactly
// 2^31 apart are in no order: neither is Less than the other.
type SN uint32

// Add returns the number n steps after s.
func (s SN) Add(n uint32) SN { return s + SN(n) }

// Less tells whether s comes before t.
func (s SN) Less(t SN) bool { d := uint32(t - s); return d != 0 && d < 1<<31 }

// LessEq tells whether s comes before t or is t.
func (s SN) LessEq(t SN) bool { return uint32(t-s) < 1<<31 }

// In tells whether s lies in the window from first to last, both included. The window is
// empty if last is first-1, as MaxCmdSN is when a target takes no more commands.
func (s SN) In(first, last SN) bool { return first.LessEq(s) && s.LessEq(last) }

// Sub returns how far s is ahead of t: negative if it is behind.
func (s SN) Sub(t SN) int32 { return int32(s - t) }
