package pdu

// AsyncEvent is the event that an Async Message tells of (RFC 7143 11.9.1).
type AsyncEvent byte

// Async events.
const (
	AsyncSCSI           AsyncEvent = 0 // the data segment holds sense data
	AsyncLogoutRequest  AsyncEvent = 1 // log out within Param3 seconds
	AsyncDropConnection AsyncEvent = 2 // connection Param1 will be dropped
	AsyncDropSession    AsyncEvent = 3 // all connections will be dropped
	AsyncRenegotiate    AsyncEvent = 4 // negotiate parameters within Param3 seconds
	AsyncTasksAborted   AsyncEvent = 5 // all active tasks of the LUN are being terminated
	AsyncVendor         AsyncEvent = 255
)

// Async is an Async Message (RFC 7143 11.9).
type Async struct {
	DataLength uint32
	LUN        uint64
	Counters
	Event  AsyncEvent
	VCode  byte // vendor's own event code, with AsyncVendor
	Param1 uint16
	Param2 uint16 // Time2Wait in seconds, for the two that drop connections
	Param3 uint16 // Time2Retain in seconds likewise, or the time that is granted
}

// Unmarshal reads the message that h holds; it cannot fail.
func (a *Async) Unmarshal(h *Header) {
	a.DataLength = uint32(h.DataLength())
	a.LUN = h.LUN()
	a.Counters = h.counters()
	a.Event = AsyncEvent(h[36])
	a.VCode = h[37]
	a.Param1 = h.u16(38)
	a.Param2 = h.u16(40)
	a.Param3 = h.u16(42)
}

// Marshal sets all of h.
func (a *Async) Marshal(h *Header) {
	h.start(OpAsync, flagFinal, a.DataLength, NoTag)
	h.put64(8, a.LUN)
	h.PutCounters(a.Counters)
	h[36] = byte(a.Event)
	h[37] = a.VCode
	h.put16(38, a.Param1)
	h.put16(40, a.Param2)
	h.put16(42, a.Param3)
}
