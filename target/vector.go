package target

import "net"

const (
	arenaSize = 64 << 10 // bytes of headers, digests and small data in one write
	maxVector = 1000     // pieces in one write; the kernel takes 1024
	// copyData is the data, in bytes, that is cheaper to copy than to gather.
	copyData = 256
	// maxOverhead is the most that one PDU takes in the arena, in bytes: header, two
	// digests, padding, and data that is copied.
	maxOverhead = 48 + 4 + copyData + 3 + 4
)

// vector gathers the pieces of one write. Small ones are put into the arena, where
// neighbours become one piece; large ones are referred to.
type vector struct {
	arena []byte
	tail  int // where in the arena the last piece began, or -1 if it is not in the arena
	iov   [][]byte
	vec   net.Buffers // the header of iov that is consumed by a write
}

func (v *vector) init() {
	v.arena = make([]byte, 0, arenaSize)
	v.iov = make([][]byte, 0, maxVector+4)
	v.tail = -1
}

// room tells whether a PDU will fit.
func (v *vector) room(data int) bool {
	return len(v.arena)+maxOverhead <= arenaSize && len(v.iov) < maxVector
}

// place returns the next n bytes, to be filled.
func (v *vector) place(n int) []byte {
	at := len(v.arena)
	v.arena = v.arena[:at+n]
	if v.tail < 0 {
		v.tail = at
		v.iov = append(v.iov, nil)
	}
	v.iov[len(v.iov)-1] = v.arena[v.tail:]
	return v.arena[at : at+n]
}

// data adds bytes that stay as they are until the write.
func (v *vector) data(p []byte) {
	if len(p) <= copyData {
		copy(v.place(len(p)), p)
		return
	}
	v.iov = append(v.iov, p)
	v.tail = -1
}

func (v *vector) reset() {
	clear(v.iov)
	v.iov, v.arena, v.tail = v.iov[:0], v.arena[:0], -1
}
