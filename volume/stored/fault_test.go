package stored_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"sluice/object"
	"sluice/object/memory"
	"sluice/volume"
	"sluice/volume/stored"
)

// story is a life of a stored volume: it is written, snapshotted twice, restored, closed and opened. It is told until something
// fails; the volume, if it is open then, and what it must hold are returned.
func story(ctx context.Context, g *gateway, store object.Store, h *volume.Head) (v *stored.Volume, model []byte, err error) {
	model = make([]byte, size)
	if v, err = stored.Open(ctx, h.ID, g.opts, false); err != nil {
		return nil, model, err
	}
	for i := range 2 {
		p := bytes.Repeat([]byte{byte(i + 1)}, 2*mib)
		off := int64(i) * mib
		if err := v.Write(ctx, [][]byte{p}, []int64{off}, true); err != nil {
			return v, model, err
		}
		copy(model[off:], p)
		hold, err := v.Hold(ctx)
		if err != nil {
			return v, model, err
		}
		cut := hold.Cut()
		hold.Release()
		_, err = cut.Finish(ctx)
		cut.Close()
		if err != nil {
			return v, model, err
		}
	}
	if err := v.Close(); err != nil {
		return nil, model, err
	}
	v, err = stored.Open(ctx, h.ID, g.opts, false)
	return v, model, err
}

// TestEveryCallFails tells the story once for each call to the object store, and has that call fail: once for a moment, once after
// it took effect, and once for good.
func TestEveryCallFails(t *testing.T) {
	for _, kind := range []string{"transient", "answer lost", "final"} {
		for _, op := range []object.Op{object.OpPut, object.OpPutIf, object.OpGetRange, object.OpStat} {
			for n := 0; ; n++ {
				if !oneFails(t, kind, op, n) {
					break
				}
			}
		}
	}
}

var errFinal = errors.New("it does not want to")

// oneFails returns false if the story has no n-th call of the operation.
func oneFails(t *testing.T, kind string, op object.Op, n int) bool {
	t.Helper()
	bucket := memory.New()
	h := create(t, bucket, volume.New{Size: size})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	failed := false
	faulty := object.Fault(bucket, func(c object.Call) object.Outcome {
		if c.Op != op || c.N != n {
			return object.Outcome{}
		}
		failed = true
		switch kind {
		case "transient":
			return object.Outcome{Err: &object.Error{Op: c.Op, Key: c.Key, Err: object.ErrInjected, Transient: true}}
		case "answer lost":
			return object.Outcome{Lost: true}
		}
		time.AfterFunc(time.Millisecond, cancel) // nobody waits until it wants to
		return object.Outcome{Err: &object.Error{Op: c.Op, Key: c.Key, Err: errFinal}}
	})
	store := object.Retry(faulty, object.RetryOptions{MinDelay: time.Microsecond, MaxDelay: time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	g := newGateway(t, store, t.TempDir(), "gw")
	defer g.stop()
	what := fmt.Sprintf("%s, %s call %d", kind, op, n)
	v, model, err := story(ctx, g, store, h)
	if !failed {
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		closeVolume(t, v)
		return false
	}
	if err != nil && kind != "final" {
		t.Fatalf("%s: %v", what, err)
	}
	if v == nil { // it could not be opened: the next time it can
		if v, err = stored.Open(context.Background(), h.ID, g.opts, false); err != nil {
			t.Fatalf("%s, and then: %v", what, err)
		}
	}
	expect(t, v, model)
	g.expectRoot(store, finish(t, cutNow(t, v)), model)
	closeVolume(t, v)
	return true
}
