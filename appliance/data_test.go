package appliance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sluice/appliance/api"
	"sluice/volume"
)

// memoryDisk is a disk in memory, that knows what of it is mapped.
type memoryDisk struct {
	fakeVolume
	data   []byte
	mapped []bool // by block
	writes []int  // lengths
	flush  error
}

func newMemoryDisk(size int) *memoryDisk {
	return &memoryDisk{data: make([]byte, size), mapped: make([]bool, size/api.DataUnit)}
}

func (d *memoryDisk) Size() int64                 { return int64(len(d.data)) }
func (d *memoryDisk) Stats() volume.Stats         { return volume.Stats{Size: d.Size()} }
func (d *memoryDisk) Flush(context.Context) error { return d.flush }

func (d *memoryDisk) set(off, n int64, mapped bool) {
	for b := off / api.DataUnit; b < (off+n)/api.DataUnit; b++ {
		d.mapped[b] = mapped
	}
}

func (d *memoryDisk) Read(_ context.Context, p []byte, off int64, _ bool) error {
	copy(p, d.data[off:])
	return nil
}

func (d *memoryDisk) Write(_ context.Context, bufs [][]byte, offs []int64, _ bool) error {
	for i, p := range bufs {
		copy(d.data[offs[i]:], p)
		d.set(offs[i], int64(len(p)), true)
		d.writes = append(d.writes, len(p))
	}
	return nil
}

func (d *memoryDisk) Zero(_ context.Context, off, n int64, unmap bool) error {
	if !unmap {
		return errors.New("zeros that take space")
	}
	clear(d.data[off : off+n])
	d.set(off, n, false)
	return nil
}

func (d *memoryDisk) Mapped(_ context.Context, off int64) (bool, int64, error) {
	b := int(off / api.DataUnit)
	end := b
	for end < len(d.mapped) && d.mapped[end] == d.mapped[b] {
		end++
	}
	return d.mapped[b], int64(end)*api.DataUnit - off, nil
}

// held makes a fixture whose volume "demo" is a disk in memory.
func heldFixture(t *testing.T) (*fixture, *memoryDisk) {
	t.Helper()
	f := newFixture(t)
	if _, err := f.CreateVolume(t.Context(), api.CreateRequest{Name: "demo", Size: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	disk := newMemoryDisk(1 << 20)
	disk.head = f.fakes.heads["demo"]
	f.set("demo", &entry{head: f.entry("demo").head, vol: disk})
	return f, disk
}

// TestWriteSparse: whatever is written can be read, long runs of zeros take no space, and all else is written.
func TestWriteSparse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		disk := newMemoryDisk(512 << 10)
		blocks := len(disk.mapped)
		want := make([]byte, len(disk.data))
		for range rapid.IntRange(1, 5).Draw(t, "writes") {
			first := rapid.IntRange(0, blocks-1).Draw(t, "first")
			count := rapid.IntRange(1, blocks-first).Draw(t, "count")
			p := want[first*api.DataUnit : (first+count)*api.DataUnit]
			for len(p) > 0 {
				run := min(rapid.IntRange(1, 20).Draw(t, "run")*api.DataUnit, len(p))
				fill := byte(rapid.IntRange(0, 1).Draw(t, "fill"))
				for i := range p[:run] {
					p[i] = fill
				}
				p = p[run:]
			}
			p = want[first*api.DataUnit : (first+count)*api.DataUnit]
			if err := writeSparse(context.Background(), disk, p, int64(first*api.DataUnit)); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(disk.data, want) {
				t.Fatal("what was written is not what is read")
			}
			for at := 0; at+sparseRun <= len(p); at += api.DataUnit {
				if leadingZeros(p[at:at+sparseRun]) == sparseRun && disk.mapped[first+at/api.DataUnit] {
					t.Fatalf("a long run of zeros at block %d takes space", at/api.DataUnit)
				}
			}
		}
	})
}

func TestHold(t *testing.T) {
	f, disk := heldFixture(t)
	ctx := t.Context()
	data := bytes.Repeat([]byte{5}, 64<<10)
	var token string
	err := f.HoldVolume(ctx, "demo", api.HoldRequest{}, func(ctx context.Context, h api.Hold) error {
		token = h.Token
		if h.Size != disk.Size() || h.Done != 0 {
			t.Errorf("%+v", h)
		}
		if _, err := f.Authorize(alice, api.IQN("demo"), address(t, "127.0.0.1:1")); err == nil {
			t.Error("an initiator is let in meanwhile")
		}
		if _, err := f.ResizeVolume(ctx, "demo", api.ResizeRequest{Size: 2 << 20}); code(err) != api.CodeConflict {
			t.Errorf("the volume is resized meanwhile: %v", err)
		}
		if err := f.HoldVolume(ctx, "demo", api.HoldRequest{}, nil); code(err) != api.CodeConflict {
			t.Errorf("a second hold: %v", err)
		}
		for _, test := range []struct {
			token string
			off   int64
			want  api.Code
		}{{"", 0, api.CodeConflict}, {"other", 0, api.CodeConflict}, {token, 1 << 20, api.CodeInvalid}, {token, -4096, api.CodeInvalid}} {
			if err := f.WriteVolume(ctx, "demo", test.token, data, test.off); code(err) != test.want {
				t.Errorf("writing with token %q at %d: %v", test.token, test.off, err)
			}
		}
		return errors.Join(f.WriteVolume(ctx, "demo", token, data, 4096), f.ZeroVolume(ctx, "demo", token, 8192, 4096))
	})
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 16384)
	if err := f.ReadVolume(ctx, "demo", got, 0); err != nil || got[0] != 0 || got[4096] != 5 || got[8192] != 0 || got[12288] != 5 {
		t.Errorf("%v", err)
	}
	list, err := f.VolumeExtents(ctx, "demo", 0, 1<<20)
	if diff := cmp.Diff([]api.Extent{{Offset: 4096, Length: 4096}, {Offset: 12288, Length: 60<<10 - 4096}}, list); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if err := f.WriteVolume(ctx, "demo", token, data, 0); code(err) != api.CodeConflict {
		t.Errorf("writing after the hold: %v", err)
	}
	if _, err := f.Authorize(alice, api.IQN("demo"), address(t, "127.0.0.1:1")); err != nil {
		t.Errorf("after the hold: %v", err)
	}
	if err := f.ReadVolume(ctx, "demo", got, 1<<20-4096); code(err) != api.CodeInvalid {
		t.Errorf("reading behind the end: %v", err)
	}
	if err := f.HoldVolume(ctx, "none", api.HoldRequest{}, nil); code(err) != api.CodeNotFound {
		t.Errorf("no such volume: %v", err)
	}
}

func code(err error) api.Code {
	if err == nil {
		return ""
	}
	return api.AsError(err).Code
}

// TestHoldAndSessions: a disk does not change under an initiator, unless by force.
func TestHoldAndSessions(t *testing.T) {
	f, _ := heldFixture(t)
	f.targets.login("demo", alice, "127.0.0.1:1")
	if err := f.HoldVolume(t.Context(), "demo", api.HoldRequest{}, nil); code(err) != api.CodeConflict || !strings.Contains(err.Error(), alice) {
		t.Errorf("%v", err)
	}
	err := f.HoldVolume(t.Context(), "demo", api.HoldRequest{Force: true}, func(ctx context.Context, h api.Hold) error {
		if _, err := f.Authorize(alice, api.IQN("demo"), address(t, "127.0.0.1:1")); err != nil {
			t.Errorf("with force: %v", err)
		}
		return f.WriteVolume(ctx, "demo", h.Token, make([]byte, 4096), 0)
	})
	if err != nil {
		t.Error(err)
	}
	f.targets.sessions["demo"] = nil
	err = f.HoldVolume(t.Context(), "demo", api.HoldRequest{}, func(ctx context.Context, h api.Hold) error {
		f.targets.login("demo", alice, "127.0.0.1:1") // its login had begun before the hold
		return f.WriteVolume(ctx, "demo", h.Token, make([]byte, 4096), 0)
	})
	if code(err) != api.CodeConflict {
		t.Errorf("writing under an initiator that came in late: %v", err)
	}
}

// TestImportNotes: an import is gone on with where it was marked, by the same image only, also after the daemon was
// started again; and until it is finished, nobody uses the volume.
func TestImportNotes(t *testing.T) {
	f, disk := heldFixture(t)
	ctx := t.Context()
	hold := func(req api.HoldRequest, use func(h api.Hold) error) error {
		return f.HoldVolume(ctx, "demo", req, func(_ context.Context, h api.Hold) error { return use(h) })
	}
	mark := func(m api.Mark) func(api.Hold) error {
		return func(h api.Hold) error { return f.MarkVolume(ctx, "demo", h.Token, m) }
	}
	resumed := func(h api.Hold) error {
		if h.Done != 8192 || string(h.State) != "state" {
			return fmt.Errorf("resumed at %d with %q", h.Done, h.State)
		}
		return nil
	}
	open := func() error {
		_, err := f.Authorize(alice, api.IQN("demo"), address(t, "127.0.0.1:1"))
		return err
	}
	if err := hold(api.HoldRequest{Image: "a", Resume: true}, mark(api.Mark{Done: 8192, State: []byte("state")})); err != nil {
		t.Fatal(err)
	}
	if open() == nil {
		t.Error("an initiator is let in to a part of an image")
	}
	again, err := openImports(f.imports.dir)
	if err != nil {
		t.Fatal(err)
	}
	f.imports = again // as after a restart
	if err := hold(api.HoldRequest{Image: "a", Resume: true}, resumed); err != nil {
		t.Error(err)
	}
	if err := hold(api.HoldRequest{Image: "b", Resume: true}, resumed); code(err) != api.CodeConflict {
		t.Errorf("another image: %v", err)
	}
	disk.flush = errors.New("the disk is full")
	if err := hold(api.HoldRequest{Image: "a", Resume: true}, mark(api.Mark{Done: 12288})); err == nil {
		t.Error("what is not durable is marked as done")
	}
	disk.flush = nil
	if err := hold(api.HoldRequest{Image: "a", Resume: true}, resumed); err != nil {
		t.Error(err)
	}
	if err := hold(api.HoldRequest{Image: "a"}, func(h api.Hold) error {
		if h.Done != 0 {
			t.Errorf("without resume: %+v", h)
		}
		return mark(api.Mark{Finished: true})(h)
	}); err != nil {
		t.Error(err)
	}
	if err := open(); err != nil {
		t.Errorf("after a finished import: %v", err)
	}
	if files, err := os.ReadDir(f.imports.dir); err != nil || len(files) > 0 {
		t.Errorf("left: %v %v", files, err)
	}
	if err := hold(api.HoldRequest{Image: "a"}, mark(api.Mark{State: make([]byte, maxImportState+1)})); code(err) != api.CodeInvalid {
		t.Errorf("a long state: %v", err)
	}
	if err := f.DeleteVolume(ctx, "demo", false); err != nil {
		t.Fatal(err)
	}
	if files, err := os.ReadDir(f.imports.dir); err != nil || len(files) > 0 {
		t.Errorf("a deleted volume leaves %v %v", files, err)
	}
}

// TestDamagedNote: what a damaged note says is unknown, but not that there is an import.
func TestDamagedNote(t *testing.T) {
	f, _ := heldFixture(t)
	if err := f.imports.set(f.entry("demo").head.ID, importNote{Image: "a", Done: 4096}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.imports.path(f.entry("demo").head.ID), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if f.imports, err = openImports(f.imports.dir); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Authorize(alice, api.IQN("demo"), address(t, "127.0.0.1:1")); err == nil {
		t.Error("an initiator is let in")
	}
	err = f.HoldVolume(t.Context(), "demo", api.HoldRequest{Image: "a", Resume: true}, func(_ context.Context, h api.Hold) error {
		if h.Done != 0 {
			t.Errorf("resumed at %d", h.Done)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
