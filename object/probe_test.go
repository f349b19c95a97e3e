package object_test

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"

	"sluice/object"
	"sluice/object/memory"
)

// bad is a store with one defect.
type bad struct {
	*memory.Store
	ignoreNoneMatch, ignoreMatch, createOnMatch, ignoreRange, sameETag, staleList, staleRead, immortal bool
	first                                                                                              []byte
}

func (b *bad) PutIf(ctx context.Context, key string, body []byte, match string) (string, error) {
	if b.first == nil {
		b.first = body
	}
	_, err := b.Stat(ctx, key)
	exists := err == nil
	if match == "" && b.ignoreNoneMatch || match != "" && exists && b.ignoreMatch || match != "" && !exists && b.createOnMatch {
		return b.Put(ctx, key, body)
	}
	if b.sameETag && match != "" {
		_, err := b.Put(ctx, key, body)
		return match, err
	}
	return b.Store.PutIf(ctx, key, body, match)
}

func (b *bad) GetRange(ctx context.Context, key string, off, n int64) ([]byte, string, error) {
	if b.ignoreRange {
		off, n = 0, -1
	}
	data, etag, err := b.Store.GetRange(ctx, key, off, n)
	if b.staleRead && off == 0 && n < 0 {
		data = b.first
	}
	return data, etag, err
}

func (b *bad) List(ctx context.Context, prefix, after string) iter.Seq2[object.Info, error] {
	if b.staleList {
		return func(func(object.Info, error) bool) {}
	}
	return b.Store.List(ctx, prefix, after)
}

func (b *bad) Delete(ctx context.Context, key string) error {
	if b.immortal {
		return nil
	}
	return b.Store.Delete(ctx, key)
}

func TestProbe(t *testing.T) {
	for _, test := range []struct {
		name  string
		store object.Store
		want  string // in the error; empty: none
	}{
		{"good", &bad{}, ""},
		{"ignores If-None-Match", &bad{ignoreNoneMatch: true}, "If-None-Match forbids"},
		{"ignores If-Match", &bad{ignoreMatch: true}, "If-Match names another version"},
		{"creates on If-Match", &bad{createOnMatch: true}, "If-Match names one to replace"},
		{"ignores Range", &bad{ignoreRange: true}, "supports ranged reads"},
		{"repeats ETags", &bad{sameETag: true}, "same ETag"},
		{"does not list what was just written", &bad{staleList: true}, "not listed"},
		{"reads what was there before", &bad{staleRead: true}, "returns another object"},
		{"does not delete", &bad{immortal: true}, "still found"},
	} {
		t.Run(test.name, func(t *testing.T) {
			mem := memory.New()
			test.store.(*bad).Store = mem
			err := object.Probe(t.Context(), test.store)
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %v, want %q", err, test.want)
			}
			if test.store.(*bad).immortal {
				return
			}
			for info, err := range mem.List(t.Context(), "", "") {
				if err != nil {
					t.Fatal(err)
				}
				t.Errorf("%s is left behind", info.Key)
			}
		})
	}
}

// TestProbeFailsOnce: each request that the probe makes may fail; the probe then says so.
func TestProbeFailsOnce(t *testing.T) {
	refused := &object.Error{Op: "test", Err: object.ErrRefused}
	total := 0
	count := func(object.Call) object.Outcome { total++; return object.Outcome{} }
	if err := object.Probe(t.Context(), object.Fault(memory.New(), count)); err != nil {
		t.Fatal(err)
	}
	for fail := range total {
		n := 0
		err := object.Probe(t.Context(), object.Fault(memory.New(), func(object.Call) object.Outcome {
			if n++; n == fail+1 {
				return object.Outcome{Err: refused}
			}
			return object.Outcome{}
		}))
		if !errors.Is(err, object.ErrRefused) {
			t.Errorf("request %d of %d fails: %v", fail+1, total, err)
		}
	}
}
