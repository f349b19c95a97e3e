package object

import (
	"context"
	"iter"
	"sync/atomic"
)

// OpStats counts the calls of one operation.
type OpStats struct {
	Calls  int64
	Errors int64 // calls that failed, ErrNotFound and ErrPrecondition included
	Bytes  int64 // of the bodies sent or received by calls that succeeded
}

// Stats counts what went through a Counter.
type Stats struct {
	Put, PutIf, GetRange, Stat, List, Delete OpStats
}

// Counter is a Store that counts.
type Counter struct {
	next Store
	rows [len(ops)]counts
}

type counts struct{ calls, errors, bytes atomic.Int64 }

var _ Store = (*Counter)(nil)

// Count wraps next. Under Retry it counts attempts, over it calls.
func Count(next Store) *Counter { return &Counter{next: next} }

// Stats returns the counts so far. Each number is exact; taken while calls run, they
// need not be of the same instant.
func (c *Counter) Stats() Stats {
	row := func(op Op) OpStats {
		r := &c.rows[op.index()]
		return OpStats{Calls: r.calls.Load(), Errors: r.errors.Load(), Bytes: r.bytes.Load()}
	}
	return Stats{
		Put: row(OpPut), PutIf: row(OpPutIf), GetRange: row(OpGetRange),
		Stat: row(OpStat), List: row(OpList), Delete: row(OpDelete),
	}
}

func (c *Counter) count(op Op, n int, err error) {
	r := &c.rows[op.index()]
	r.calls.Add(1)
	if err != nil {
		r.errors.Add(1)
		return
	}
	r.bytes.Add(int64(n))
}

// Put implements Store.
func (c *Counter) Put(ctx context.Context, key string, body []byte) (string, error) {
	etag, err := c.next.Put(ctx, key, body)
	c.count(OpPut, len(body), err)
	return etag, err
}

// PutIf implements Store.
func (c *Counter) PutIf(ctx context.Context, key string, body []byte, match string) (string, error) {
	etag, err := c.next.PutIf(ctx, key, body, match)
	c.count(OpPutIf, len(body), err)
	return etag, err
}

// GetRange implements Store.
func (c *Counter) GetRange(ctx context.Context, key string, off, n int64) ([]byte, string, error) {
	data, etag, err := c.next.GetRange(ctx, key, off, n)
	c.count(OpGetRange, len(data), err)
	return data, etag, err
}

// Stat implements Store.
func (c *Counter) Stat(ctx context.Context, key string) (Info, error) {
	info, err := c.next.Stat(ctx, key)
	c.count(OpStat, 0, err)
	return info, err
}

// List implements Store. A listing counts as one call, however many pages it has.
func (c *Counter) List(ctx context.Context, prefix, after string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		var last error
		defer func() { c.count(OpList, 0, last) }()
		for info, err := range c.next.List(ctx, prefix, after) {
			last = err
			if !yield(info, err) || err != nil {
				return
			}
		}
	}
}

// Delete implements Store.
func (c *Counter) Delete(ctx context.Context, key string) error {
	err := c.next.Delete(ctx, key)
	c.count(OpDelete, 0, err)
	return err
}
