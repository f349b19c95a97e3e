package appliance

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"

	"github.com/google/uuid"

	"sluice/appliance/api"
	"sluice/object"
	"sluice/object/memory"
	"sluice/snapshot"
	"sluice/volume/blockmap"
)

// inspection is an inspector over a bucket that answers, hangs, or has lost everything.
type inspection struct {
	*inspector

	records *snapshot.Catalogue
	id      string
	outcome object.Outcome // of reads
	deleted bool           // the record goes when the root is read
}

func newInspection(t *testing.T) *inspection {
	t.Helper()
	bucket := memory.New()
	x := &inspection{records: snapshot.NewCatalogue(bucket)}
	record := &snapshot.Snapshot{ID: uuid.New(), Volume: uuid.New(), VolumeName: "demo", Mode: "cached", Size: 1 << 20, Root: blockmap.Root{Key: "volumes/gone", Length: 100}}
	if err := x.records.Put(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	x.id = record.ID.String()
	hook := func(object.Call) object.Outcome {
		if x.deleted {
			if err := x.records.Delete(context.Background(), record.ID); err != nil {
				t.Error(err)
			}
		}
		return x.outcome
	}
	x.inspector = newInspector(object.Fault(bucket, hook), x.records, newFixture(t).volumes, slog.New(slog.DiscardHandler))
	return x
}

func (x *inspection) begin(t *testing.T) *api.Verification {
	t.Helper()
	v, err := x.VerifySnapshot(t.Context(), x.id[:8], api.VerifyRequest{Quick: true})
	if err != nil {
		t.Fatal(err)
	}
	if v.Snapshot != x.id || v.Volume != "demo" || !v.Quick {
		t.Errorf("%+v", v)
	}
	return v
}

func (x *inspection) show(t *testing.T, id string) *api.Verification {
	t.Helper()
	v, err := x.ShowVerification(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestVerificationsEnd tells how verifications end, each in its own way.
func TestVerificationsEnd(t *testing.T) {
	for name, test := range map[string]struct {
		outcome object.Outcome
		before  func(x *inspection, id string) error // once it is under way
		want    api.VerificationState
	}{
		"damaged":  {object.Outcome{}, nil, api.VerificationDamaged},
		"deleted":  {object.Outcome{}, nil, api.VerificationFailed},
		"outage":   {object.Outcome{Err: &object.Error{Err: object.ErrInjected, Transient: true}}, nil, api.VerificationFailed},
		"canceled": {object.Outcome{Hang: true}, func(x *inspection, id string) error { return x.CancelVerification(context.Background(), id) }, api.VerificationCanceled},
		"stopped":  {object.Outcome{Hang: true}, func(x *inspection, _ string) error { x.endInspections(); return nil }, api.VerificationCanceled},
	} {
		synctest.Test(t, func(t *testing.T) {
			x := newInspection(t)
			x.outcome = test.outcome
			x.deleted = name == "deleted"
			v := x.begin(t)
			if test.before != nil {
				if err := test.before(x, v.ID); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
			v = x.show(t, v.ID)
			if v.State != test.want {
				t.Errorf("%s: %+v", name, v)
			}
			if lost := v.LostBytes == 1<<20 && len(v.Lost) == 1; lost != (test.want == api.VerificationDamaged) {
				t.Errorf("%s: %+v", name, v)
			}
			x.endInspections()
		})
	}
}

// TestVerificationsAreBounded begins more verifications than may run, and more than are remembered.
func TestVerificationsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newInspection(t)
		x.outcome = object.Outcome{Hang: true}
		var running []*api.Verification
		for range verifyTogether {
			running = append(running, x.begin(t))
		}
		if _, err := x.VerifySnapshot(t.Context(), x.id, api.VerifyRequest{}); err == nil {
			t.Error("one more may run")
		}
		for _, v := range running {
			if err := x.CancelVerification(t.Context(), v.ID); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		x.outcome = object.Outcome{}
		for range keepVerifications + 3 {
			v := x.begin(t)
			synctest.Wait()
			x.show(t, v.ID)
		}
		if _, err := x.ShowVerification(t.Context(), running[0].ID); err == nil || len(x.jobs) > keepVerifications+1 {
			t.Errorf("%d are remembered", len(x.jobs))
		}
		x.endInspections()
		if _, err := x.VerifySnapshot(t.Context(), x.id, api.VerifyRequest{}); err == nil {
			t.Error("one begins when the gateway stops")
		}
	})
}
