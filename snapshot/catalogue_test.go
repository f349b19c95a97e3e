package snapshot

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"sluice/object/memory"
	"sluice/volume/blockmap"
	"sluice/volume/segment"
)

var update = flag.Bool("update", false, "write the golden file")

func example() *Snapshot {
	return &Snapshot{
		Format: 1, ID: uuid.MustParse("8d68bb5a-59a5-429f-8b21-7f063b405117"), Volume: uuid.MustParse("9f3d57e4-95a4-4a8d-a1b5-6a3a7a1f0c11"),
		VolumeName: "demo", Mode: "cached", Size: 1 << 30,
		Root:    blockmap.Root{Key: "volumes/9f3d57e4-95a4-4a8d-a1b5-6a3a7a1f0c11/roots/000001-1-8f0e2b77c1d2a3b4", Offset: 4096, Length: 77, CRC: 0xdeadbeef, Position: segment.NewID(1, 9)},
		Created: time.Date(2026, 11, 23, 5, 48, 34, 455038848, time.UTC), Description: "before the upgrade", Tags: map[string]string{"app": "shop"},
		Group: uuid.MustParse("11111111-2222-4333-8444-555555555555"), Uploaded: 12345,
	}
}

// TestGolden holds the record's format.
func TestGolden(t *testing.T) {
	path := filepath.Join("testdata", "golden", "v1.json")
	store := memory.New()
	want := example()
	if err := NewCatalogue(store).Put(context.Background(), want); err != nil {
		t.Fatal(err)
	}
	if *update {
		body, _, err := store.GetRange(context.Background(), key(want.ID), 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, body, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decode(key(want.ID), body)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestCatalogue adds snapshots, finds them by the beginnings of their IDs, and deletes them.
func TestCatalogue(t *testing.T) {
	ctx, c := context.Background(), NewCatalogue(memory.New())
	var want []*Snapshot
	for i, id := range []string{"8d68bb5a-59a5-429f-8b21-7f063b405117", "8d68cccc-59a5-429f-8b21-7f063b405117", "00000000-59a5-429f-8b21-7f063b405117"} {
		s := example()
		s.ID, s.Created = uuid.MustParse(id), s.Created.Add(time.Duration(i)*time.Hour)
		if err := c.Put(ctx, s); err != nil {
			t.Fatal(err)
		}
		want = append(want, s)
	}
	list, err := c.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, list); diff != "" {
		t.Error(diff)
	}
	for text, found := range map[string]error{
		want[0].ID.String(): nil, "8d68b": nil, "8d68c": nil, "0": nil, "8d68": ErrAmbiguous, "8d": ErrAmbiguous,
		"": ErrNotFound, "9": ErrNotFound, "../snapshots/8d68b": ErrNotFound, "11111111-59a5-429f-8b21-7f063b405117": ErrNotFound,
	} {
		if _, err := c.Find(ctx, text); !errors.Is(err, found) {
			t.Errorf("Find(%q): %v, expected %v", text, err, found)
		}
	}
	if err := c.Delete(ctx, want[0].ID); err != nil {
		t.Fatal(err)
	}
	if s, err := c.Find(ctx, "8d68"); err != nil || s.ID != want[1].ID {
		t.Errorf("after the other was deleted: %v", err)
	}
	if _, err := c.Get(ctx, want[0].ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("a deleted snapshot: %v", err)
	}
}

// TestBadRecords shows that a record which cannot be understood is an error, also of List: it is never passed over.
func TestBadRecords(t *testing.T) {
	for name, body := range map[string]string{
		"empty":           "",
		"not JSON":        "x",
		"nothing":         "{}",
		"another's":       `{"format":1,"id":"00000000-59a5-429f-8b21-7f063b405117","size":1,"root":{"key":"k"}}`,
		"without root":    `{"format":1,"id":"8d68bb5a-59a5-429f-8b21-7f063b405117","size":1}`,
		"of a later time": `{"format":2,"id":"8d68bb5a-59a5-429f-8b21-7f063b405117","size":1,"root":{"key":"k"}}`,
	} {
		store := memory.New()
		id := example().ID
		if _, err := store.Put(context.Background(), key(id), []byte(body)); err != nil {
			t.Fatal(err)
		}
		if _, err := NewCatalogue(store).Get(context.Background(), id); err == nil {
			t.Errorf("%s: no error", name)
		}
		if _, err := NewCatalogue(store).List(context.Background()); err == nil {
			t.Errorf("%s: List passes over it", name)
		}
	}
}
