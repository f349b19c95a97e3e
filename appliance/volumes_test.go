package appliance

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"sluice/appliance/api"
	"sluice/object"
	"sluice/volume"
)

func wantCode(t *testing.T, err error, code api.Code, words ...string) {
	t.Helper()
	e, ok := errors.AsType[*api.Error](err)
	if !ok || e.Code != code {
		t.Errorf("want %s, got %v", code, err)
		return
	}
	for _, word := range words {
		if !strings.Contains(e.Error(), word) {
			t.Errorf("the message does not hold %q: %v", word, e)
		}
	}
}

func (f *fixture) create(t *testing.T, name string) *api.Volume {
	t.Helper()
	v, err := f.CreateVolume(t.Context(), api.CreateRequest{Name: name, Size: int64(api.GiB)})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestLifeOfAVolume follows one from its creation to its end.
func TestLifeOfAVolume(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	v := f.create(t, "demo")
	want := []string{
		"iscsiadm --mode discovery --type sendtargets --portal 127.0.0.1:3260",
		"iscsiadm --mode node --targetname iqn.2026-11.io.sluice:demo --portal 127.0.0.1:3260 --login",
	}
	if diff := cmp.Diff(want, v.Attach); diff != "" || v.State != api.StateAttached || f.targets.exported["demo"] == nil {
		t.Errorf("after its creation: %+v %s", v, diff)
	}
	_, err := f.CreateVolume(ctx, api.CreateRequest{Name: "demo", Size: int64(api.GiB)})
	wantCode(t, err, api.CodeConflict)

	v, err = f.ShowVolume(ctx, "demo")
	if err != nil || v.Allocated == nil || *v.Allocated != 4096 || v.Queued != 8192 || v.Epoch != 1 {
		t.Errorf("shown as %+v, %v", v, err)
	}
	v, err = f.ResizeVolume(ctx, "demo", api.ResizeRequest{Size: int64(2 * api.GiB)})
	if err != nil || v.Size != int64(2*api.GiB) || len(f.targets.grown) != 1 {
		t.Errorf("resized to %+v, %v; %v were told", v, err, f.targets.grown)
	}
	_, err = f.ResizeVolume(ctx, "demo", api.ResizeRequest{Size: int64(api.GiB)})
	wantCode(t, err, api.CodeInvalid, "shrink")

	f.targets.login("demo", alice, "127.0.0.1:1")
	_, err = f.DetachVolume(ctx, "demo", api.DetachRequest{})
	wantCode(t, err, api.CodeConflict, alice, "--logout", "--force")
	wantCode(t, f.DeleteVolume(ctx, "demo", false), api.CodeConflict, alice)
	v, err = f.DetachVolume(ctx, "demo", api.DetachRequest{Force: true})
	if err != nil || v.State != api.StateDetached || len(f.targets.exported) != 0 || !f.fakes.opened["demo"].closed {
		t.Errorf("detached as %+v, %v", v, err)
	}
	_, err = f.ResizeVolume(ctx, "demo", api.ResizeRequest{Size: int64(3 * api.GiB)})
	wantCode(t, err, api.CodeConflict, "attach")
	_, err = f.DetachVolume(ctx, "demo", api.DetachRequest{})
	wantCode(t, err, api.CodeConflict, "attach")

	for range 2 { // to attach what is attached is no error
		if v, err = f.AttachVolume(ctx, "demo", api.AttachRequest{}); err != nil || v.State != api.StateAttached || v.Epoch != 2 {
			t.Errorf("attached as %+v, %v", v, err)
		}
	}
	if err := f.DeleteVolume(ctx, "demo", false); err != nil || len(f.fakes.heads) != 0 || len(f.targets.exported) != 0 {
		t.Errorf("after its end: %v, %v", err, f.fakes.heads)
	}
	_, err = f.ShowVolume(ctx, "demo")
	wantCode(t, err, api.CodeNotFound)
	wantCode(t, f.DeleteVolume(ctx, "demo", true), api.CodeNotFound)
	_, err = f.AttachVolume(ctx, "demo", api.AttachRequest{})
	wantCode(t, err, api.CodeNotFound)
}

func TestCreateRefuses(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	for name, test := range map[string]struct {
		req  api.CreateRequest
		word string
	}{
		"bad name":     {api.CreateRequest{Name: "Demo", Size: int64(api.GiB)}, "a-z"},
		"no size":      {api.CreateRequest{Name: "demo"}, "1MiB"},
		"another mode": {api.CreateRequest{Name: "demo", Size: int64(api.GiB), Mode: "tape"}, "cached or stored"},
		"cached, path": {api.CreateRequest{Name: "demo", Size: int64(api.GiB), Path: "/dev/sdb"}, "--mode stored"},
		"preserve":     {api.CreateRequest{Name: "demo", Size: int64(api.GiB), Mode: "stored", Preserve: true}, "--path"},
		"rate":         {api.CreateRequest{Name: "demo", Size: int64(api.GiB), Mode: "stored", Rate: -1}, "negative"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := f.CreateVolume(ctx, test.req)
			wantCode(t, err, api.CodeInvalid, test.word)
		})
	}
	if len(f.fakes.heads) > 0 {
		t.Errorf("something was created: %v", f.fakes.heads)
	}
	f.fakes.openErr = errors.New("the disk is full")
	_, err := f.CreateVolume(ctx, api.CreateRequest{Name: "demo", Size: int64(api.GiB)})
	wantCode(t, err, api.CodeInternal, "was created, but not attached", "disk is full", "sluice volume attach demo")
}

// TestOneOperationAtATime holds a claim as an operation that takes long does.
func TestOneOperationAtATime(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	f.create(t, "demo")
	release, err := f.claim("demo")
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.DetachVolume(ctx, "demo", api.DetachRequest{})
	wantCode(t, err, api.CodeConflict, "under way")
	wantCode(t, f.DeleteVolume(ctx, "demo", true), api.CodeConflict, "under way")
	f.create(t, "other")
	release()
	if _, err = f.DetachVolume(ctx, "demo", api.DetachRequest{}); err != nil {
		t.Error(err)
	}
}

func TestOtherGateway(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	head, err := f.fakes.Create(ctx, volume.New{Name: "theirs", Size: int64(api.GiB), Mode: volume.Cached})
	if err != nil {
		t.Fatal(err)
	}
	head.Owner = &volume.Owner{Gateway: otherGateway, Host: "there"}
	f.targets.stale = map[uuid.UUID]bool{head.ID: true}
	list, err := f.ListVolumes(ctx)
	if err != nil || len(list) != 1 || list[0].State != api.StateElsewhere || list[0].Owner.Host != "there" {
		t.Errorf("listed as %+v, %v", list, err)
	}
	_, err = f.AttachVolume(ctx, "theirs", api.AttachRequest{})
	wantCode(t, err, api.CodeConflict, "--force")
	wantCode(t, f.DeleteVolume(ctx, "theirs", true), api.CodeConflict)
	if v, err := f.AttachVolume(ctx, "theirs", api.AttachRequest{Force: true}); err != nil || v.State != api.StateAttached {
		t.Errorf("attached as %+v, %v", v, err)
	}
}

// TestFailedVolume fails in service, is shown so, and is attached again.
func TestFailedVolume(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	f.create(t, "demo")
	first := f.fakes.opened["demo"]
	first.failure = "the disk broke"
	v, err := f.ShowVolume(ctx, "demo")
	if err != nil || v.State != api.StateFailed || v.Error != "the disk broke" {
		t.Errorf("shown as %+v, %v", v, err)
	}
	wantCode(t, f.DeleteVolume(ctx, "demo", false), api.CodeConflict, "the disk broke", "attach")
	if v, err = f.AttachVolume(ctx, "demo", api.AttachRequest{}); err != nil || v.State != api.StateAttached || !first.closed {
		t.Errorf("attached as %+v, %v", v, err)
	}
}

// TestLostVolume is taken over by another gateway, and then let go here.
func TestLostVolume(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	f.create(t, "demo")
	f.fakes.heads["demo"].Owner = &volume.Owner{Gateway: otherGateway, Host: "there"}
	f.fakes.opened["demo"].failure = volume.ErrLost.Error()
	_, err := f.AttachVolume(ctx, "other", api.AttachRequest{})
	wantCode(t, err, api.CodeNotFound)
	v, err := f.DetachVolume(ctx, "demo", api.DetachRequest{})
	if err != nil || v.State != api.StateElsewhere || f.entry("demo") != nil || len(f.targets.exported) > 0 {
		t.Errorf("detached as %+v, %v", v, err)
	}
	_, err = f.AttachVolume(ctx, "demo", api.AttachRequest{})
	wantCode(t, err, api.CodeConflict, "--force")
}

func TestFailedDetachGoesOnServing(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	f.create(t, "demo")
	f.fakes.opened["demo"].detach = context.DeadlineExceeded
	_, err := f.DetachVolume(ctx, "demo", api.DetachRequest{})
	wantCode(t, err, api.CodeUnavailable)
	if f.targets.exported["demo"] == nil || f.entry("demo") == nil {
		t.Error("it is not served any more")
	}
}

// TestAttachOwn is the start of a gateway: its own volumes are attached, one that cannot be
// does not harm the others, and those of others are left alone.
func TestAttachOwn(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	for name, owner := range map[string]string{"bad": thisGateway, "free": "", "theirs": otherGateway} {
		head, err := f.fakes.Create(ctx, volume.New{Name: name, Size: int64(api.GiB), Mode: volume.Cached})
		if err != nil {
			t.Fatal(err)
		}
		if owner != "" {
			head.Owner = &volume.Owner{Gateway: owner}
		}
	}
	f.fakes.openErr = volume.ErrDamaged
	if err := f.attachOwn(ctx); err != nil {
		t.Fatal(err)
	}
	states := func() map[string]api.State {
		list, err := f.ListVolumes(ctx)
		if err != nil {
			t.Fatal(err)
		}
		states := map[string]api.State{}
		for _, v := range list {
			states[v.Name] = v.State
		}
		return states
	}
	want := map[string]api.State{"bad": api.StateFailed, "free": api.StateDetached, "theirs": api.StateElsewhere}
	if diff := cmp.Diff(want, states()); diff != "" {
		t.Error(diff)
	}
	if _, err := f.AttachVolume(ctx, "bad", api.AttachRequest{}); err != nil {
		t.Error(err)
	}
	want["bad"] = api.StateAttached
	if diff := cmp.Diff(want, states()); diff != "" {
		t.Error(diff)
	}
	if err := f.closeAll(ctx); err != nil || !f.fakes.opened["bad"].closed {
		t.Errorf("closed: %v", err)
	}
}

func TestCheckPortal(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	if err := f.checkPortal("0.0.0.0:3260"); err != nil {
		t.Errorf("no volumes, and yet: %v", err)
	}
	f.create(t, "one")
	f.create(t, "two")
	if err := f.checkPortal("127.0.0.1:3260"); err != nil {
		t.Error(err)
	}
	err := f.checkPortal("0.0.0.0:3260")
	if err == nil || !strings.Contains(err.Error(), "sluice initiator allow one --iqn") {
		t.Errorf("the portal may be opened, or it is not said how: %v", err)
	}
	if _, err := f.AllowInitiator(ctx, "two", alice); err != nil {
		t.Fatal(err)
	}
	if err := f.checkPortal("0.0.0.0:3260"); err != nil {
		t.Error(err)
	}
}

func TestExplain(t *testing.T) {
	final := &object.Error{Op: object.OpPut, Key: "k", Err: object.ErrRefused}
	transient := &object.Error{Op: object.OpPut, Key: "k", Err: errors.New("500"), Transient: true}
	for _, test := range []struct {
		err  error
		code api.Code
	}{
		{volume.ErrNotFound, api.CodeNotFound},
		{volume.ErrExists, api.CodeConflict},
		{volume.ErrOwned, api.CodeConflict},
		{volume.ErrLost, api.CodeConflict},
		{volume.ErrDamaged, api.CodeInternal},
		{final, api.CodeUnavailable},
		{transient, api.CodeUnavailable},
		{context.DeadlineExceeded, api.CodeUnavailable},
		{errors.New("?"), api.CodeInternal},
	} {
		wantCode(t, explain(test.err), test.code)
		if !errors.Is(explain(test.err), test.err) {
			t.Errorf("%v is not in its explanation", test.err)
		}
	}
}

// TestNewVolumeInheritsNothing: rules hang on the volume, not on its name.
func TestNewVolumeInheritsNothing(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	f.create(t, "demo")
	if _, err := f.AllowInitiator(ctx, "demo", alice); err != nil {
		t.Fatal(err)
	}
	if err := f.DeleteVolume(ctx, "demo", false); err != nil {
		t.Fatal(err)
	}
	f.create(t, "demo")
	if list, err := f.ListInitiators(ctx, "demo"); err != nil || len(list.Initiators) > 0 {
		t.Errorf("the new volume lets in %v, %v", list, err)
	}
	if len(f.access.volumes) > 0 {
		t.Error("the rules of the deleted volume are still there")
	}
}
