package object_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"sluice/object"
	"sluice/object/memory"
)

// A watcher hears of each failure that is tried again, when it happens, and of nothing else.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failures := 3
		store := object.Retry(object.Fault(memory.New(), func(c object.Call) object.Outcome {
			if c.N < failures {
				return object.Outcome{Err: &object.Error{Op: c.Op, Key: c.Key, Err: object.ErrInjected, Transient: true}}
			}
			return object.Outcome{}
		}), object.RetryOptions{})
		heard := 0
		ctx := object.Watch(t.Context(), func(err error, next time.Time) {
			heard++
			if !errors.Is(err, object.ErrInjected) || !next.After(time.Now()) || time.Until(next) > time.Minute {
				t.Errorf("heard of %v, tried again in %v", err, time.Until(next))
			}
		})
		if _, err := store.Put(ctx, "key", nil); err != nil || heard != failures {
			t.Errorf("%v, and %d failures were heard of", err, heard)
		}
		if _, _, err := store.GetRange(context.Background(), "key", 0, -1); err != nil || heard != failures {
			t.Errorf("%v; %d failures heard of", err, heard)
		}
	})
}
