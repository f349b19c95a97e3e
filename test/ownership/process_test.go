package ownership

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/object"
	"sluice/object/storeurl"
	"sluice/snapshot"
	"sluice/test/harness"
	"sluice/test/s3server"
	"sluice/test/sessions"
	"sluice/volume"
	"sluice/volume/blockmap"
	"sluice/volume/gc"
	"sluice/volume/segment"
)

const victim = "victim"

// TestOwnerComesBack has an owner come back that another gateway has taken a volume from meanwhile.
func TestOwnerComesBack(t *testing.T) {
	server := s3server.Start(t)
	server.Setenv(t) // for both subtests: they run beside each other
	t.Run("stopped", func(t *testing.T) {
		t.Parallel()
		o := harness.Options{Store: "file://" + harness.TempDir(t)}
		a := harness.Start(t, o)
		takeOver(t, a, o, func() { a.Signal(syscall.SIGSTOP) }, func() { a.Signal(syscall.SIGCONT) })
	})
	// It goes on to take writes meanwhile, as long as its lease lasts, and what it had sent to the bucket arrives when the cut is mended.
	t.Run("cut off", func(t *testing.T) {
		t.Parallel()
		path := sessions.NewPath(t, strings.TrimPrefix(server.Endpoint, "http://"))
		o := harness.Options{Store: server.URL("gateway"), Args: []string{"--group", "g", "--lease", "3s"}}
		cut := o
		cut.Store = strings.Replace(o.Store, server.Endpoint, "http://"+path.Address(), 1)
		takeOver(t, harness.Start(t, cut), o, path.Cut, path.Mend)
	})
}

// takeOver has a second gateway take a volume from a, which is away from leave to comeBack with a writer at work, write to it, and
// collect garbage. Then a must do nothing to the volume any more.
func takeOver(t *testing.T, a *harness.Gateway, o harness.Options, leave, comeBack func()) {
	t.Helper()
	a.CLI("volume", "create", victim, "--size", "1GiB", "--recovery-window", "0")
	state := filepath.Join(t.TempDir(), "state")
	ring := func(state string, gw *harness.Gateway, more ...string) []string {
		return append(more, "--state", state, "--ring", "--size", "512k", "--zero", "5", "--flush", "200", gw.URL(victim))
	}
	uploaded := harness.MustVerify(t, ring(state, a, "--count", "1500")...).Acked
	a.WaitUploaded(victim)
	writer := harness.VerifyStart(t, ring(state, a, "--seconds", "60")...)
	time.Sleep(300 * time.Millisecond)
	leave()

	// Another initiator on another gateway: it knows what was written until now.
	second := filepath.Join(t.TempDir(), "state")
	copyFile(t, state, second)
	b := harness.Start(t, o)
	if _, err := b.Try("volume", "attach", victim); err == nil {
		t.Error("another gateway's volume is attached without force")
	}
	if said := string(b.CLI("volume", "attach", victim, "--force")); !strings.Contains(said, "not uploaded") {
		t.Errorf("attach --force does not say what may be missing: %s", said)
	}
	found := harness.MustVerify(t, ring(second, b, "--check", "--depth", "32", "--at-least", fmt.Sprint(uploaded))...)
	written := harness.MustVerify(t, ring(second, b, "--count", "1500")...).Acked
	b.CLI("snapshot", "create", victim) // what is written is in the bucket, with a root that makes garbage of what was there before
	deleted := collect(t, o.Store)
	if deleted == 0 {
		t.Error("nothing was collected")
	}
	before := contents(t, o.Store)

	comeBack()
	result := <-writer
	if result.Exit != harness.VerifyIO && result.Exit != harness.VerifyLost {
		t.Errorf("the first gateway's initiator goes on: %v", result)
	}
	// It may not have looked yet: an initiator without an answer gives up earlier.
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		_, err := a.Try("volume", "attach", victim)
		if err != nil && strings.Contains(err.Error(), volume.ErrOwned.Error()) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the first gateway does not find out that it lost the volume: %v", err)
		}
	}
	after := contents(t, o.Store)
	before.compare(t, after)
	harness.MustVerify(t, ring(second, b, "--check", "--depth", "32", "--at-least", fmt.Sprint(written))...)
	t.Logf("uploaded %d, found %d, then written %d; the collector deleted %d; the first gateway left %d segments more",
		uploaded, found.Cut, written, deleted, len(after.keys)-len(before.keys))
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	body, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, body, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// collect deletes all garbage, without any horizon, and returns how many objects that were.
func collect(t *testing.T, url string) (deleted int) {
	t.Helper()
	store := open(t, url)
	catalogue := snapshot.NewCatalogue(store)
	roots := func(ctx context.Context) ([]blockmap.Root, error) {
		list, err := catalogue.List(ctx)
		var roots []blockmap.Root
		for _, s := range list {
			roots = append(roots, s.Root)
		}
		return roots, err
	}
	c := gc.New(gc.Options{Store: store, Snapshots: roots, Logger: slog.New(slog.DiscardHandler)})
	for range 2 {
		report, err := c.Collect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		deleted += report.Deleted
	}
	return deleted
}

func open(t *testing.T, url string) object.Store {
	t.Helper()
	store, err := storeurl.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// bucket is what is in one.
type bucket struct {
	keys map[string]string // ETags
	head *volume.Head
}

func contents(t *testing.T, url string) bucket {
	t.Helper()
	store := open(t, url)
	b := bucket{keys: map[string]string{}}
	for info, err := range store.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		b.keys[info.Key] = info.ETag
	}
	var err error
	if b.head, err = volume.Find(t.Context(), store, victim); err != nil {
		t.Fatal(err)
	}
	return b
}

// compare checks that the owner that was superseded has done nothing: nothing is deleted or replaced, and there is nothing new but segments under
// that owner's own numbers, which nobody refers to. The new owner may have renewed the head.
func (b bucket) compare(t *testing.T, after bucket) {
	t.Helper()
	headKey := "volumes/" + b.head.ID.String() + "/head.json"
	for key, etag := range b.keys {
		if now, ok := after.keys[key]; !ok || now != etag && key != headKey {
			t.Errorf("%s was %s and is %q", key, etag, now)
		}
	}
	own := b.head.Spans[len(b.head.Spans)-1].Writer
	for key := range after.keys {
		if _, ok := b.keys[key]; ok {
			continue
		}
		if id, ok := segment.ParseKey(key); !ok || id.Writer() >= own {
			t.Errorf("%s is new", key)
		}
	}
	was, is := b.head, after.head
	if is.Epoch != was.Epoch || is.Owner == nil || is.Owner.Gateway != was.Owner.Gateway || is.Published < was.Published ||
		!slices.Equal(is.Spans, was.Spans) || (is.Root == nil) != (was.Root == nil) {
		t.Errorf("the head was %+v and is %+v", was, is)
	}
}
