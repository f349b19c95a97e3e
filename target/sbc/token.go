package sbc

import (
	"cmp"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"sluice/target/scsi"
)

// Limits of tokens, as VPD page 8F tells them.
const (
	maxTokens      = 128      // of one disk that are remembered, also after they have ended
	maxTokenRanges = 64       // ranges in one list
	maxTokenBytes  = 64 << 20 // that one list names: an initiator waits for it, Windows 4 s
	defaultTimeout = 30 * time.Second
	maxTimeout     = 5 * time.Minute
)

// The types of the tokens that we know (SPC-4 table 125).
const (
	rodDefault    = 0x00000000 // the copy manager's choice
	rodVulnerable = 0x00800001 // point in time copy, change vulnerable: ends when the data changes
	rodAny        = 0x0080ffff // any point in time copy
	rodZero       = 0xffff0001 // block device zero ROD token
)

// tokenLength is that of every token (SPC-4 5.17.6.4).
//
//	  0  type (4)
//	  6  length of what follows: 504 (2)
//	  8  identifier, unique within the gateway (8)
//	 16  the disk that made it: an identification descriptor (32)
//	 48  number of bytes that it stands for (16)
//	 96  sector length (4)
//	128  random bytes: whoever has them was given them (32)
const tokenLength = 512

// token stands for some ranges of a disk as they were when it was made. Nothing was copied: as
// soon as anything is about to change there, the token ends.
type token struct {
	bytes   [tokenLength]byte
	disk    *Device
	ranges  []address
	timeout time.Duration
	expires time.Time
	ended   scsi.Code // why it is of no use any more, or 0
}

// tokenError says why a token cannot be used.
type tokenError struct{ code scsi.Code }

func (e *tokenError) Error() string {
	why := map[scsi.Code]string{
		scsi.TokenCancelled: "the data of the token has changed",
		scsi.TokenExpired:   "the token has expired",
		scsi.TokenDeleted:   "the token has been deleted",
	}[e.code]
	return cmp.Or(why, "the token is not one of ours")
}

// Tokens are what the disks of a gateway share so that a token which one of them made can be used
// with another (POPULATE TOKEN, WRITE USING TOKEN). Its methods may be called concurrently.
type Tokens struct {
	mu   sync.Mutex
	last uint64
	list []*token // oldest first
}

// NewTokens returns a set without tokens.
func NewTokens() *Tokens { return &Tokens{} }

// create makes a token for ranges of a disk. Nothing may be changing there meanwhile. It returns
// nil if the disk has too many.
func (t *Tokens) create(d *Device, ranges []address, timeout time.Duration) *token {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire(time.Now())
	if d.tokens.Load() >= maxTokens && !t.evict(d) {
		return nil
	}
	t.last++
	k := &token{disk: d, ranges: ranges, timeout: timeout, expires: time.Now().Add(timeout)}
	k.encode(t.last)
	t.list = append(t.list, k)
	d.tokens.Add(1)
	return k
}

// expire forgets the tokens whose time is over. The caller holds mu.
func (t *Tokens) expire(now time.Time) {
	t.remove(func(k *token) bool { return now.Sub(k.expires) > maxTimeout })
	for _, k := range t.list {
		if k.ended == 0 && now.After(k.expires) {
			k.ended = scsi.TokenExpired
		}
	}
}

// evict forgets the oldest token of a disk that has ended. The caller holds mu.
func (t *Tokens) evict(d *Device) bool {
	done := false
	t.remove(func(k *token) bool {
		first := !done && k.disk == d && k.ended != 0
		done = done || first
		return first
	})
	return done
}

// remove forgets some tokens. The caller holds mu.
func (t *Tokens) remove(which func(*token) bool) {
	t.list = slices.DeleteFunc(t.list, func(k *token) bool {
		gone := which(k)
		if gone {
			k.disk.tokens.Add(-1)
			k.ended = max(k.ended, scsi.TokenExpired) // whoever is using it must see that
		}
		return gone
	})
}

// use finds a token, and makes it last as long again.
func (t *Tokens) use(p []byte) (*token, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.expire(now)
	for _, k := range t.list {
		if subtle.ConstantTimeCompare(k.bytes[:], p) == 1 {
			if k.ended != 0 {
				return nil, &tokenError{k.ended}
			}
			k.expires = now.Add(k.timeout)
			return k, nil
		}
	}
	return nil, &tokenError{scsi.TokenUnknown}
}

// check tells whether the data of a token is still there. What was read before it says so was
// read before anything changed.
func (t *Tokens) check(k *token) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if k.ended != 0 {
		return &tokenError{k.ended}
	}
	k.expires = time.Now().Add(k.timeout) // it is being used
	return nil
}

// end makes a token of no use.
func (t *Tokens) end(k *token, why scsi.Code) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k.ended = why
}

// cancel ends the tokens for a range of a disk that is about to change.
func (t *Tokens) cancel(d *Device, off, n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range t.list {
		if k.disk == d && k.ended == 0 && slices.ContainsFunc(k.ranges, func(a address) bool {
			return a.offset() < off+n && off < a.offset()+a.bytes()
		}) {
			k.ended = scsi.TokenCancelled
		}
	}
}

// drop forgets the tokens of a disk that goes away.
func (t *Tokens) drop(d *Device) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.remove(func(k *token) bool { return k.disk == d })
}

// changed is called before a range changes, by whoever holds exclusive. It costs nothing while
// the disk has no tokens.
func (d *Device) changed(off, n int64) {
	if d.tokens.Load() > 0 {
		d.shared.cancel(d, off, n)
	}
}

// sectorsOf is how many sectors some ranges have together.
func sectorsOf(ranges []address) (n uint64) {
	for _, a := range ranges {
		n += a.n
	}
	return n
}

func (k *token) encode(id uint64) {
	be := binary.BigEndian
	b := k.bytes[:]
	be.PutUint32(b, rodVulnerable)
	be.PutUint16(b[6:], tokenLength-8)
	be.PutUint64(b[8:], id)
	copy(b[16:], k.disk.appendCSCD(nil))
	be.PutUint64(b[56:], sectorsOf(k.ranges)*sector)
	be.PutUint32(b[96:], sector)
	_, _ = rand.Read(b[128:160]) // never fails
}

// appendCSCD appends the identification descriptor of a disk.
func (d *Device) appendCSCD(b []byte) []byte {
	b = append(b, cscdIdentification, 0, 0, 0, 0x01, 0x03, 0, byte(len(d.naa)))
	b = append(b, d.naa[:]...)
	return append(b, 0, 0, 0, 0, 0, 0, sector>>8, sector&0xff)
}
