package object_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice/object"
	"sluice/object/memory"
	"sluice/object/storetest"
)

func TestCountConformance(t *testing.T) {
	storetest.Run(t, func(testing.TB) object.Store { return object.Count(memory.New()) })
}

func TestFaultConformance(t *testing.T) {
	storetest.Run(t, func(testing.TB) object.Store {
		return object.Fault(memory.New(), func(object.Call) object.Outcome { return object.Outcome{} })
	})
}

func TestCount(t *testing.T) {
	s := object.Count(memory.New())
	ctx := t.Context()
	ignore := func(error) {} // what fails is counted
	_, err := s.Put(ctx, "a", make([]byte, 100))
	ignore(err)
	_, err = s.PutIf(ctx, "b", make([]byte, 10), "")
	ignore(err)
	_, err = s.PutIf(ctx, "b", make([]byte, 10), "")
	ignore(err)
	_, _, err = s.GetRange(ctx, "a", 90, 20)
	ignore(err)
	_, _, err = s.GetRange(ctx, "c", 0, 20)
	ignore(err)
	_, err = s.Stat(ctx, "a")
	ignore(err)
	for _, err := range s.List(ctx, "", "") {
		ignore(err)
		break
	}
	for _, err := range s.List(ctx, "..", "") {
		ignore(err)
	}
	ignore(s.Delete(ctx, "a"))
	want := object.Stats{
		Put:      object.OpStats{Calls: 1, Bytes: 100},
		PutIf:    object.OpStats{Calls: 2, Errors: 1, Bytes: 10},
		GetRange: object.OpStats{Calls: 2, Errors: 1, Bytes: 10},
		Stat:     object.OpStats{Calls: 1},
		List:     object.OpStats{Calls: 2, Errors: 1},
		Delete:   object.OpStats{Calls: 1},
	}
	if diff := cmp.Diff(want, s.Stats()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestFault(t *testing.T) {
	mem := memory.New()
	boom := errors.New("boom")
	var next object.Outcome
	s := object.Fault(mem, func(object.Call) object.Outcome { return next })
	if _, err := mem.Put(t.Context(), "key", []byte{0, 0, 0}); err != nil {
		t.Fatal(err)
	}
	get := func(o object.Outcome) string {
		next = o
		got, _, err := s.GetRange(t.Context(), "key", 0, -1)
		return fmt.Sprintf("%d %v", got, err)
	}
	for _, test := range []struct {
		outcome object.Outcome
		want    string
	}{
		{object.Outcome{}, "[0 0 0] <nil>"},
		{object.Outcome{Err: boom}, "[] boom"},
		{object.Outcome{Mutate: object.FlipBit(9)}, "[0 2 0] <nil>"},
		{object.Outcome{Mutate: object.FlipBit(24)}, "[1 0 0] <nil>"},
		{object.Outcome{Mutate: object.Truncate(1)}, "[0 0] <nil>"},
		{object.Outcome{Mutate: object.Truncate(5)}, "[] <nil>"},
	} {
		if got := get(test.outcome); got != test.want {
			t.Errorf("%+v: got %s, want %s", test.outcome, got, test.want)
		}
	}

	next = object.Outcome{Lost: true}
	if _, err := s.PutIf(t.Context(), "new", []byte("x"), ""); !errors.Is(err, object.ErrInjected) || !object.Transient(err) {
		t.Errorf("lost answer: %v", err)
	}
	if _, err := mem.Stat(t.Context(), "new"); err != nil {
		t.Errorf("the write whose answer was lost: %v", err)
	}

	next = object.Outcome{Hang: true}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Delete(ctx, "key"); !errors.Is(err, context.Canceled) {
		t.Errorf("hang: %v", err)
	}
}

func TestFailNth(t *testing.T) {
	boom := errors.New("boom")
	s := object.Fault(memory.New(), object.FailNth(object.OpPut, 1, boom))
	for i, want := range []error{nil, boom, nil} {
		if _, err := s.Stat(t.Context(), "key"); errors.Is(err, boom) {
			t.Error("another operation fails")
		}
		if _, err := s.Put(t.Context(), "key", nil); !errors.Is(err, want) {
			t.Errorf("Put number %d: %v, want %v", i, err, want)
		}
	}
}

func TestTransient(t *testing.T) {
	passing := &object.Error{Op: object.OpPut, Key: "k", Err: errors.New("503"), Transient: true}
	for _, test := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{errors.New("whatever"), false},
		{context.DeadlineExceeded, false},
		{passing, true},
		{fmt.Errorf("upload: %w", passing), true},
		{&object.Error{Op: object.OpPut, Key: "k", Err: fmt.Errorf("gave up: %w", passing)}, false},
	} {
		if got := object.Transient(test.err); got != test.want {
			t.Errorf("Transient(%v) = %v", test.err, got)
		}
	}
}
