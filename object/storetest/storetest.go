package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/object"
)

// Open returns an empty store that lives as long as the test.
type Open func(t testing.TB) object.Store

// Run runs the whole suite.
func Run(t *testing.T, open Open) {
	for _, part := range []struct {
		name string
		run  func(*testing.T, object.Store)
	}{
		{"Probe", testProbe},
		{"PutAndGet", testPutAndGet},
		{"Ranges", testRanges},
		{"EmptyObject", testEmptyObject},
		{"BigObject", testBigObject},
		{"Replace", testReplace},
		{"NotFound", testNotFound},
		{"Delete", testDelete},
		{"Stat", testStat},
		{"BadKeys", testBadKeys},
		{"PutIf", testPutIf},
		{"PutIfRaceToCreate", testPutIfRaceToCreate},
		{"PutIfRaceToReplace", testPutIfRaceToReplace},
		{"ReadersSeeWholeObjects", testReadersSeeWholeObjects},
		{"ListOrder", testListOrder},
		{"ListPages", testListPages},
		{"Canceled", testCanceled},
		{"Model", testModel},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, open(t)) })
	}
}

func testProbe(t *testing.T, s object.Store) {
	if err := object.Probe(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if left := keys(t, s, "", ""); len(left) != 0 {
		t.Errorf("the probe left %q behind", left)
	}
}

func testPutAndGet(t *testing.T, s object.Store) {
	for _, key := range []string{"a", "volumes/7f/head.json", "x/A-Z_a-z.0=9+@,", strings.Repeat("k", object.MaxComponent)} {
		want := []byte("body of " + key)
		etag := put(t, s, key, want)
		got, gotTag, err := s.GetRange(t.Context(), key, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) || gotTag != etag {
			t.Errorf("%s: got %q with ETag %q, want %q with %q", key, got, gotTag, want, etag)
		}
	}
}

func testRanges(t *testing.T, s object.Store) {
	body := random(1, 10_000)
	etag := put(t, s, "object", body)
	for _, r := range []struct{ off, n int64 }{
		{0, -1},
		{0, 0},
		{0, 1},
		{0, 10_000},
		{0, 10_001},
		{1, -1},
		{4096, 4096},
		{9_999, 1},
		{9_999, 2},
		{9_999, -1},
		{5_000, 0},
		{5_000, 1 << 62},
		{5_000, 1<<63 - 1},
		{10_000, 0},
		{10_000, 1},
		{10_000, -1},
		{20_000, 100},
		{20_000, -1},
		{1 << 62, 1 << 62},
	} {
		want := body[min(r.off, 10_000):]
		if r.n >= 0 {
			want = want[:min(r.n, int64(len(want)))]
		}
		got, gotTag, err := s.GetRange(t.Context(), "object", r.off, r.n)
		if err != nil {
			t.Errorf("%d bytes from %d: %v", r.n, r.off, err)
			continue
		}
		if !bytes.Equal(got, want) || gotTag != etag {
			t.Errorf("%d bytes from %d: got %d bytes with ETag %q, want %d with %q", r.n, r.off, len(got), gotTag, len(want), etag)
		}
	}
	if _, _, err := s.GetRange(t.Context(), "object", -1, 1); err == nil || object.Transient(err) {
		t.Errorf("a negative offset: %v, want a final error", err)
	}
}

func testEmptyObject(t *testing.T, s object.Store) {
	etag := put(t, s, "empty", nil)
	for _, n := range []int64{-1, 0, 1} {
		got, gotTag, err := s.GetRange(t.Context(), "empty", 0, n)
		if err != nil || len(got) != 0 || gotTag != etag {
			t.Errorf("%d bytes: got %q, %q, %v; want none, %q", n, got, gotTag, err, etag)
		}
	}
	info, err := s.Stat(t.Context(), "empty")
	if err != nil || info.Size != 0 || info.ETag != etag {
		t.Errorf("Stat: %+v, %v", info, err)
	}
	if got := keys(t, s, "", ""); !cmp.Equal(got, []string{"empty"}) {
		t.Errorf("listed: %q", got)
	}
}

func testBigObject(t *testing.T, s object.Store) {
	body := random(2, 32<<20)
	put(t, s, "big", body)
	got, _, err := s.GetRange(t.Context(), "big", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, body) {
		t.Error("32 MiB come back changed")
	}
	got, _, err = s.GetRange(t.Context(), "big", 31<<20+5, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, body[31<<20+5:]) {
		t.Error("the last MiB comes back changed")
	}
}

func testReplace(t *testing.T, s object.Store) {
	seen := map[string]string{}
	for i := range 20 {
		body := fmt.Sprintf("%02d", i) // of one size, as fast as can be
		etag := put(t, s, "object", []byte(body))
		if old, ok := seen[etag]; ok {
			t.Fatalf("ETag %q of %s was that of %s, too", etag, body, old)
		}
		seen[etag] = body
		got, gotTag, err := s.GetRange(t.Context(), "object", 0, -1)
		if err != nil || string(got) != body || gotTag != etag {
			t.Fatalf("after writing %s: got %q, %q, %v", body, got, gotTag, err)
		}
	}
}

func testNotFound(t *testing.T, s object.Store) {
	put(t, s, "folder/object", []byte("x"))
	for _, key := range []string{"missing", "folder/missing", "folder", "missing/object", "folder/object/below"} {
		if _, _, err := s.GetRange(t.Context(), key, 0, -1); !errors.Is(err, object.ErrNotFound) || object.Transient(err) {
			t.Errorf("GetRange(%s): %v", key, err)
		}
		if _, _, err := s.GetRange(t.Context(), key, 5, 10); !errors.Is(err, object.ErrNotFound) {
			t.Errorf("GetRange(%s) in the middle: %v", key, err)
		}
		if _, _, err := s.GetRange(t.Context(), key, 0, 0); !errors.Is(err, object.ErrNotFound) {
			t.Errorf("GetRange(%s) of nothing: %v", key, err)
		}
		if _, err := s.Stat(t.Context(), key); !errors.Is(err, object.ErrNotFound) {
			t.Errorf("Stat(%s): %v", key, err)
		}
	}
}

func testDelete(t *testing.T, s object.Store) {
	put(t, s, "folder/a", []byte("a"))
	put(t, s, "folder/b", []byte("b"))
	for range 2 { // the second time it is missing, which is no error
		if err := s.Delete(t.Context(), "folder/a"); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Delete(t.Context(), "never/there"); err != nil {
		t.Errorf("delete what was never there: %v", err)
	}
	if _, err := s.Stat(t.Context(), "folder/a"); !errors.Is(err, object.ErrNotFound) {
		t.Errorf("Stat of a deleted object: %v", err)
	}
	if got := keys(t, s, "", ""); !cmp.Equal(got, []string{"folder/b"}) {
		t.Errorf("left: %q", got)
	}
	put(t, s, "folder/a", []byte("again"))
}

func testStat(t *testing.T, s object.Store) {
	before := time.Now()
	etag := put(t, s, "object", make([]byte, 1234))
	info, err := s.Stat(t.Context(), "object")
	if err != nil {
		t.Fatal(err)
	}
	if info.Key != "object" || info.Size != 1234 || info.ETag != etag {
		t.Errorf("got %+v, want ETag %q", info, etag)
	}
	// Some servers tell the time in whole seconds only.
	if info.ModTime.Before(before.Add(-2*time.Second)) || info.ModTime.After(time.Now().Add(2*time.Second)) {
		t.Errorf("modified %v, written after %v", info.ModTime, before)
	}
	for listed, err := range s.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		if listed.Key != info.Key || listed.Size != info.Size || listed.ETag != info.ETag {
			t.Errorf("listed as %+v, Stat says %+v", listed, info)
		}
	}
}

func testBadKeys(t *testing.T, s object.Store) {
	for _, key := range []string{
		"", "/", "a/", "/a", "a//b", ".", "..", "../a", "a/../b", "a/..", ".hidden", "a/.tmp", ".lock",
		"a b", "a\x00b", "ü", `a\b`, "a?b", "a%2fb", strings.Repeat("k", object.MaxComponent+1), strings.Repeat("k/", 300) + "k",
	} {
		_, putErr := s.Put(t.Context(), key, []byte("x"))
		_, putIfErr := s.PutIf(t.Context(), key, []byte("x"), "")
		_, _, getErr := s.GetRange(t.Context(), key, 0, -1)
		_, statErr := s.Stat(t.Context(), key)
		delErr := s.Delete(t.Context(), key)
		for op, err := range map[string]error{"Put": putErr, "PutIf": putIfErr, "GetRange": getErr, "Stat": statErr, "Delete": delErr} {
			if err == nil || object.Transient(err) || errors.Is(err, object.ErrNotFound) {
				t.Errorf("%s(%.40q): %v, want a final error that says what is wrong", op, key, err)
			}
		}
	}
	for _, prefix := range []string{"../", "/", "a//", ".", "a/.", "a b"} {
		failed := false
		for _, err := range s.List(t.Context(), prefix, "") {
			failed = failed || err != nil
		}
		if !failed {
			t.Errorf("List(%q) is no error", prefix)
		}
	}
	if got := keys(t, s, "", ""); len(got) != 0 {
		t.Errorf("bad keys left %q", got)
	}
}

func testCanceled(t *testing.T, s object.Store) {
	put(t, s, "object", []byte("x"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, putErr := s.Put(ctx, "object", []byte("y"))
	_, _, getErr := s.GetRange(ctx, "object", 0, -1)
	_, statErr := s.Stat(ctx, "object")
	var listErr error
	for _, err := range s.List(ctx, "", "") {
		listErr = err
	}
	for op, err := range map[string]error{"Put": putErr, "GetRange": getErr, "Stat": statErr, "List": listErr, "Delete": s.Delete(ctx, "object")} {
		if !errors.Is(err, context.Canceled) || object.Transient(err) {
			t.Errorf("%s: %v, want context.Canceled as a final error", op, err)
		}
	}
	if got, _, err := s.GetRange(t.Context(), "object", 0, -1); err != nil || string(got) != "x" {
		t.Errorf("then: %q, %v", got, err)
	}
}

// put writes an object, which must succeed, and returns its ETag.
func put(t testing.TB, s object.Store, key string, body []byte) string {
	t.Helper()
	etag, err := s.Put(t.Context(), key, body)
	if err != nil {
		t.Fatal(err)
	}
	if etag == "" {
		t.Fatalf("Put(%s) returned no ETag", key)
	}
	return etag
}

// keys lists, which must succeed.
func keys(t testing.TB, s object.Store, prefix, after string) []string {
	t.Helper()
	var found []string
	for info, err := range s.List(t.Context(), prefix, after) {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, info.Key)
	}
	return found
}

// random returns bytes that depend on the seed alone.
func random(seed uint64, n int) []byte {
	var key [32]byte
	key[0] = byte(seed)
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(b) // never fails
	return b
}

// together runs n goroutines and waits for them.
func together(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}
