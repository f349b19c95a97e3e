package object

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"
)

// Call is one call of a Store, as a fault hook sees it.
type Call struct {
	Op  Op
	Key string // for OpList, the prefix
	N   int    // how many calls of this Op came before this one
}

// Outcome is what a fault hook makes of a call. The zero Outcome lets it pass.
type Outcome struct {
	Err    error                   // fail with this; the call does not reach the store
	Hang   bool                    // do nothing until the context ends
	Lost   bool                    // do it, then fail with a transient error as if the answer was lost
	Mutate func(got []byte) []byte // replace what GetRange read
}

// FaultFunc decides on each call. It may be called concurrently, and may block.
type FaultFunc func(Call) Outcome

// Faulty is a Store that fails on demand. For tests.
type Faulty struct {
	next  Store
	hook  FaultFunc
	calls [len(ops)]atomic.Int64
}

var _ Store = (*Faulty)(nil)

// Fault wraps next; hook decides on each call.
func Fault(next Store, hook FaultFunc) *Faulty { return &Faulty{next: next, hook: hook} }

// FailNth returns a hook that fails the n-th call (from 0) of op with err.
func FailNth(op Op, n int, err error) FaultFunc {
	return func(c Call) Outcome {
		if c.Op == op && c.N == n {
			return Outcome{Err: err}
		}
		return Outcome{}
	}
}

// FlipBit returns a Mutate that inverts one bit of what was read; bit counts from
// the first byte's lowest, and wraps around.
func FlipBit(bit int) func([]byte) []byte {
	return func(got []byte) []byte {
		if len(got) > 0 {
			bit %= len(got) * 8
			got[bit/8] ^= 1 << (bit % 8)
		}
		return got
	}
}

// Truncate returns a Mutate that drops the last n bytes of what was read.
func Truncate(n int) func([]byte) []byte {
	return func(got []byte) []byte { return got[:max(0, len(got)-n)] }
}

// ErrInjected is the cause of the failures that Fault makes up by itself.
var ErrInjected = errors.New("injected fault")

// before asks the hook, and says whether the call ends here.
func (f *Faulty) before(ctx context.Context, op Op, key string) (Outcome, error) {
	o := f.hook(Call{Op: op, Key: key, N: int(f.calls[op.index()].Add(1) - 1)})
	switch {
	case o.Err != nil:
		return o, o.Err
	case o.Hang:
		<-ctx.Done()
		return o, &Error{Op: op, Key: key, Err: ctx.Err()}
	}
	return o, nil
}

// after replaces a success by a failure if its answer is to be lost.
func (o Outcome) after(op Op, key string, err error) error {
	if o.Lost && err == nil {
		return &Error{Op: op, Key: key, Err: fmt.Errorf("answer lost: %w", ErrInjected), Transient: true}
	}
	return err
}

// Put implements Store.
func (f *Faulty) Put(ctx context.Context, key string, body []byte) (string, error) {
	o, err := f.before(ctx, OpPut, key)
	if err != nil {
		return "", err
	}
	etag, err := f.next.Put(ctx, key, body)
	return etag, o.after(OpPut, key, err)
}

// PutIf implements Store.
func (f *Faulty) PutIf(ctx context.Context, key string, body []byte, match string) (string, error) {
	o, err := f.before(ctx, OpPutIf, key)
	if err != nil {
		return "", err
	}
	etag, err := f.next.PutIf(ctx, key, body, match)
	return etag, o.after(OpPutIf, key, err)
}

// GetRange implements Store.
func (f *Faulty) GetRange(ctx context.Context, key string, off, n int64) ([]byte, string, error) {
	o, err := f.before(ctx, OpGetRange, key)
	if err != nil {
		return nil, "", err
	}
	data, etag, err := f.next.GetRange(ctx, key, off, n)
	if err = o.after(OpGetRange, key, err); err != nil {
		return nil, "", err
	}
	if o.Mutate != nil {
		data = o.Mutate(data)
	}
	return data, etag, nil
}

// Stat implements Store.
func (f *Faulty) Stat(ctx context.Context, key string) (Info, error) {
	o, err := f.before(ctx, OpStat, key)
	if err != nil {
		return Info{}, err
	}
	info, err := f.next.Stat(ctx, key)
	return info, o.after(OpStat, key, err)
}

// List implements Store. A fault with Err comes before the first object, one with
// Lost after the last.
func (f *Faulty) List(ctx context.Context, prefix, after string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		o, err := f.before(ctx, OpList, prefix)
		if err != nil {
			yield(Info{}, err)
			return
		}
		for info, err := range f.next.List(ctx, prefix, after) {
			if !yield(info, err) || err != nil {
				return
			}
		}
		if err := o.after(OpList, prefix, nil); err != nil {
			yield(Info{}, err)
		}
	}
}

// Delete implements Store.
func (f *Faulty) Delete(ctx context.Context, key string) error {
	o, err := f.before(ctx, OpDelete, key)
	if err != nil {
		return err
	}
	return o.after(OpDelete, key, f.next.Delete(ctx, key))
}
