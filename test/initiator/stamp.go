package initiator

import "encoding/binary"

// Sector is the length of a logical block of our disks, in bytes.
const Sector = 512

// Torn is what Stamped says of a sector that nobody wrote.
const Torn = ^uint64(0)

// Stamp fills whole sectors with content that follows from a number and from the place of each: the one that p
// begins with is at sector first. The number 0 makes zeros.
func Stamp(p []byte, first int64, number uint64) {
	if number == 0 {
		clear(p)
		return
	}
	for i := 0; i < len(p); i += Sector {
		place := uint64(first) + uint64(i/Sector)
		for j := 0; j < Sector; j += 8 {
			binary.LittleEndian.PutUint64(p[i+j:], word(number, place, j))
		}
	}
}

// Stamped returns the number that one sector was stamped with, 0 if it is all zeros, and Torn if it is neither: of
// several writes, damaged, or of another place.
func Stamped(p []byte, place int64) uint64 {
	number := binary.LittleEndian.Uint64(p)
	for j := 8; j < Sector; j += 8 {
		want := word(number, uint64(place), j)
		if number == 0 {
			want = 0
		}
		if binary.LittleEndian.Uint64(p[j:]) != want {
			return Torn
		}
	}
	return number
}

// word is the j-th byte's word of a sector: the number itself, then words mixed from number and place (the
// finalizer of SplitMix64).
func word(number, place uint64, j int) uint64 {
	if j == 0 {
		return number
	}
	x := number*0x9e3779b97f4a7c15 ^ place<<16 ^ uint64(j)
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
