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

// TestPace shows how much of the time is left to others.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		store := memory.New()
		if _, err := store.Put(ctx, "k", []byte("body")); err != nil {
			t.Fatal(err)
		}
		busy := 0 * time.Second
		slow := object.Fault(store, func(object.Call) object.Outcome {
			time.Sleep(10 * time.Millisecond)
			busy += 10 * time.Millisecond
			return object.Outcome{}
		})
		p := object.Pace(slow, 9)
		began := time.Now()
		for range 20 {
			if body, _, err := p.GetRange(ctx, "k", 0, -1); err != nil || string(body) != "body" {
				t.Fatal(string(body), err)
			}
			time.Sleep(5 * time.Millisecond) // what is made of it
			busy += 5 * time.Millisecond
		}
		if share := float64(busy) / float64(time.Since(began)); share > 0.11 || share < 0.08 {
			t.Errorf("busy for %.3f of the time", share)
		}
		if _, _, err := p.GetRange(ctx, "none", 0, -1); !errors.Is(err, object.ErrNotFound) {
			t.Errorf("a missing object: %v", err)
		}
		canceled, cancel := context.WithCancel(ctx)
		time.AfterFunc(20*time.Millisecond, cancel)
		if _, _, err := p.GetRange(canceled, "k", 0, -1); !errors.Is(err, context.Canceled) {
			t.Errorf("canceled: %v", err)
		}
	})
}
