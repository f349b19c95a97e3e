package object_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sluice/object"
	"sluice/object/memory"
	"sluice/object/storetest"
)

var errPassing = &object.Error{Op: "test", Err: errors.New("passing"), Transient: true}

// failFirst fails the first n calls of every operation for a transient reason.
func failFirst(n int) object.FaultFunc {
	return func(c object.Call) object.Outcome {
		if c.N < n {
			return object.Outcome{Err: errPassing}
		}
		return object.Outcome{}
	}
}

func TestRetryConformance(t *testing.T) {
	storetest.Run(t, func(testing.TB) object.Store {
		return object.Retry(object.Fault(memory.New(), func(c object.Call) object.Outcome {
			// Every third call fails, and every third does its work and fails then.
			return object.Outcome{Lost: c.N%3 == 1, Err: map[bool]error{true: errPassing}[c.N%3 == 2]}
		}), object.RetryOptions{MinDelay: time.Microsecond, MaxDelay: time.Microsecond})
	})
}

func TestRetryOutlastsAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := memory.New()
		outageEnds := time.Now().Add(time.Hour)
		attempts := 0
		s := object.Retry(object.Fault(mem, func(object.Call) object.Outcome {
			if attempts++; time.Now().Before(outageEnds) {
				return object.Outcome{Err: errPassing}
			}
			return object.Outcome{}
		}), object.RetryOptions{})
		if _, err := s.Put(t.Context(), "key", []byte("x")); err != nil {
			t.Fatal(err)
		}
		// Noticed soon after its end, and not hammered meanwhile.
		if late := time.Since(outageEnds); late < 0 || late > 15*time.Second {
			t.Errorf("succeeded %v after the end of the outage", late)
		}
		if attempts < 240 || attempts > 490 {
			t.Errorf("%d attempts in an hour, with pauses of 7.5 s to 15 s", attempts)
		}
	})
}

func TestRetryEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := object.Retry(object.Fault(memory.New(), failFirst(1<<30)), object.RetryOptions{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		_, err := s.Put(ctx, "key", nil)
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errPassing) || object.Transient(err) {
			t.Errorf("got %v, want the deadline and what failed until then, as a final error", err)
		}
		if took := time.Since(began); took != time.Minute {
			t.Errorf("took %v", took)
		}
		for _, err := range s.List(ctx, "", "") {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("List: %v", err)
			}
		}
	})
}

func TestRetryGivesUp(t *testing.T) {
	refused := &object.Error{Op: "test", Err: fmt.Errorf("%w: 403", object.ErrRefused)}
	for _, test := range []struct {
		name         string
		err          error
		opts         object.RetryOptions
		wantAttempts int
	}{
		{"transient", errPassing, object.RetryOptions{MaxAttempts: 5}, 5},
		{"a single attempt", errPassing, object.RetryOptions{MaxAttempts: 1}, 1},
		{"final", &object.Error{Op: "test", Err: errors.New("final")}, object.RetryOptions{}, 1},
		{"unknown", errors.New("unknown"), object.RetryOptions{}, 1},
		{"precondition", &object.Error{Op: "test", Err: object.ErrPrecondition}, object.RetryOptions{}, 1},
		{"refused", refused, object.RetryOptions{}, 1},
		{"refused, to be retried", refused, object.RetryOptions{MaxAttempts: 4, Refused: true}, 4},
		{"not found", &object.Error{Op: "test", Err: object.ErrNotFound}, object.RetryOptions{Refused: true}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				attempts := 0
				s := object.Retry(object.Fault(memory.New(), func(object.Call) object.Outcome {
					attempts++
					return object.Outcome{Err: test.err}
				}), test.opts)
				if _, err := s.PutIf(t.Context(), "key", nil, ""); !errors.Is(err, test.err) {
					t.Errorf("got %v, want %v", err, test.err)
				}
				if attempts != test.wantAttempts {
					t.Errorf("%d attempts, want %d", attempts, test.wantAttempts)
				}
			})
		})
	}
}

// TestRetryOfHangs: an attempt that gets no answer ends by its own deadline, which grows
// with the size of the body.
func TestRetryOfHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := object.Retry(object.Fault(memory.New(), func(c object.Call) object.Outcome {
			return object.Outcome{Hang: c.N < 1}
		}), object.RetryOptions{MinDelay: 1, MaxDelay: 1, AttemptTimeout: 10 * time.Second, MinRate: 1 << 20})

		for _, test := range []struct {
			name string
			call func() error
			want time.Duration
		}{
			{"Put", func() error { _, err := s.Put(t.Context(), "key", make([]byte, 5<<20)); return err }, 15 * time.Second},
			{"PutIf", func() error { _, err := s.PutIf(t.Context(), "new", make([]byte, 1<<20), ""); return err }, 11 * time.Second},
			{"GetRange", func() error { _, _, err := s.GetRange(t.Context(), "key", 0, 2<<20); return err }, 12 * time.Second},
			{"Stat", func() error { _, err := s.Stat(t.Context(), "key"); return err }, 10 * time.Second},
			{"Delete", func() error { return s.Delete(t.Context(), "new") }, 10 * time.Second},
			{"List", func() error {
				var last error
				for _, err := range s.List(t.Context(), "", "") {
					last = err
				}
				return last
			}, 10 * time.Second},
		} {
			began := time.Now()
			if err := test.call(); err != nil {
				t.Errorf("%s: %v", test.name, err)
			}
			if took := time.Since(began).Round(time.Millisecond); took != test.want {
				t.Errorf("%s took %v, want %v", test.name, took, test.want)
			}
		}
	})
}

func TestRetryOfPutIfWhoseAnswerWasLost(t *testing.T) {
	for _, test := range []struct {
		name    string
		between func(t *testing.T, mem object.Store) // what happens between the attempts
		want    error
	}{
		{"it was ours", func(*testing.T, object.Store) {}, nil},
		{"another replaced it", func(t *testing.T, mem object.Store) {
			if _, err := mem.Put(t.Context(), "key", []byte("theirs")); err != nil {
				t.Fatal(err)
			}
		}, object.ErrPrecondition},
		{"another replaced it by a longer one", func(t *testing.T, mem object.Store) {
			if _, err := mem.Put(t.Context(), "key", []byte("ours and more")); err != nil {
				t.Fatal(err)
			}
		}, object.ErrPrecondition},
		{"another deleted it", func(t *testing.T, mem object.Store) {
			if err := mem.Delete(t.Context(), "key"); err != nil {
				t.Fatal(err)
			}
		}, object.ErrPrecondition},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem := memory.New()
				old, err := mem.Put(t.Context(), "key", []byte("old"))
				if err != nil {
					t.Fatal(err)
				}
				s := object.Retry(object.Fault(mem, func(c object.Call) object.Outcome {
					if c.Op == object.OpPutIf && c.N == 1 {
						test.between(t, mem)
					}
					// The reading back has its troubles, too.
					return object.Outcome{Lost: c.N == 0}
				}), object.RetryOptions{})
				etag, err := s.PutIf(t.Context(), "key", []byte("ours"), old)
				if !errors.Is(err, test.want) {
					t.Fatalf("got %v, want %v", err, test.want)
				}
				if err != nil {
					return
				}
				got, gotTag, err := mem.GetRange(t.Context(), "key", 0, -1)
				if err != nil || string(got) != "ours" || gotTag != etag {
					t.Errorf("stored: %q, %q, %v; want our body, %q", got, gotTag, err, etag)
				}
			})
		})
	}
}

// TestRetryOfPutIfAtFirstSight: a first attempt that meets its own body lost the race all
// the same, since somebody else wrote that.
func TestRetryOfPutIfAtFirstSight(t *testing.T) {
	mem := memory.New()
	if _, err := mem.Put(t.Context(), "key", []byte("same")); err != nil {
		t.Fatal(err)
	}
	_, err := object.Retry(mem, object.RetryOptions{}).PutIf(t.Context(), "key", []byte("same"), "")
	if !errors.Is(err, object.ErrPrecondition) {
		t.Errorf("got %v", err)
	}
}

// brokenList fails each listing after two objects.
type brokenList struct{ object.Store }

func (b brokenList) List(ctx context.Context, prefix, after string) iter.Seq2[object.Info, error] {
	return func(yield func(object.Info, error) bool) {
		n := 0
		for info, err := range b.Store.List(ctx, prefix, after) {
			if n++; n > 2 {
				yield(object.Info{}, errPassing)
				return
			}
			if !yield(info, err) {
				return
			}
		}
	}
}

func TestRetryOfListGoesOnWhereItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := memory.New()
		var want []string
		for i := range 9 {
			want = append(want, fmt.Sprintf("key-%d", i))
			if _, err := mem.Put(t.Context(), want[i], nil); err != nil {
				t.Fatal(err)
			}
		}
		// Each failure comes after progress, so it counts as a first one.
		s := object.Retry(brokenList{mem}, object.RetryOptions{MaxAttempts: 2})
		var got []string
		for info, err := range s.List(t.Context(), "key", "") {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, info.Key)
			time.Sleep(time.Hour) // the consumer's time is not the store's
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestRetryReturnsOnlyWhatTheLastAttemptRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := memory.New()
		if _, err := mem.Put(t.Context(), "key", []byte("content")); err != nil {
			t.Fatal(err)
		}
		s := object.Retry(object.Fault(mem, failFirst(3)), object.RetryOptions{})
		got, _, err := s.GetRange(t.Context(), "key", 3, -1)
		if err != nil || !bytes.Equal(got, []byte("tent")) {
			t.Errorf("got %q, %v", got, err)
		}
	})
}
