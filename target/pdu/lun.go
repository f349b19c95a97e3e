package pdu

// MaxLUN is the largest unit number that a single-level LUN can hold.
const MaxLUN = 1<<14 - 1

// EncodeLUN returns the eight bytes, big endian, of the single-level LUN n (SAM-5 4.7.6):
// peripheral device addressing below 256, flat space addressing above. It returns false
// if n is more than MaxLUN.
func EncodeLUN(n int) (lun uint64, ok bool) {
	switch {
	case n < 0 || n > MaxLUN:
		return 0, false
	case n < 256:
		return uint64(n) << 48, true // method 00b, bus 0
	default:
		return (0x4000 | uint64(n)) << 48, true // method 01b
	}
}

// DecodeLUN returns the unit number of a single-level LUN in either addressing method.
// It returns false for all others: a bus that is not 0, another method, further levels.
func DecodeLUN(lun uint64) (n int, ok bool) {
	if lun<<16 != 0 {
		return 0, false
	}
	first := int(lun >> 48)
	switch first >> 14 {
	case 0:
		return first & 0xff, first>>8 == 0
	case 1:
		return first & MaxLUN, true
	default:
		return 0, false
	}
}
