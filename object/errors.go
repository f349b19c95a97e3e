package object

import (
	"errors"
	"fmt"
	"slices"
)

// What a caller can act on. Stores wrap these, so test with errors.Is.
var (
	// ErrNotFound says that there is no object with this key. A store says so only
	// when it knows: an answer that might also mean "the bucket is missing" is ErrRefused.
	ErrNotFound = errors.New("object not found")

	// ErrPrecondition says that PutIf found another object than the one it was to
	// replace, or an object where there was to be none.
	ErrPrecondition = errors.New("the object is not the one expected")

	// ErrRefused says that the store turned us away for a reason that has nothing to
	// do with this request: credentials, permissions, a missing bucket, a certificate.
	// It lasts until someone mends it. It is not transient, because a user who waits
	// should be told at once; a daemon that worked before should try again all the
	// same (RetryOptions.Refused).
	ErrRefused = errors.New("the object store refuses us")
)

// Op names an operation of Store, in errors, counters and fault hooks.
type Op string

// The operations of Store.
const (
	OpPut      Op = "put"
	OpPutIf    Op = "put-if"
	OpGetRange Op = "get"
	OpStat     Op = "stat"
	OpList     Op = "list"
	OpDelete   Op = "delete"
)

var ops = [...]Op{OpPut, OpPutIf, OpGetRange, OpStat, OpList, OpDelete}

// index is the place of an operation in a table that has one row for each.
func (o Op) index() int { return slices.Index(ops[:], o) }

// Error is the failure of one operation of a Store.
type Error struct {
	Op  Op
	Key string // for OpList, the prefix
	Err error

	// Transient says that the same call may succeed later without anyone doing
	// anything: time-outs, broken connections, throttling, server faults, answers cut
	// short. A transient failure of a write leaves open whether it took effect.
	Transient bool
}

// Error says what was being done to which key, and what went wrong.
func (e *Error) Error() string { return fmt.Sprintf("object %s %q: %v", e.Op, e.Key, e.Err) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Transient reports whether the same call may succeed if it is simply made again.
// Only a store can know, so an error that is not an *Error is final. The end of
// the caller's context is final, too.
func Transient(err error) bool {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Transient
	}
	return false
}
