package storetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sluice/object"
)

// testModel runs random sequences of operations and compares each result with a model
// that is a map.
func testModel(t *testing.T, s object.Store) {
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++ // each sequence has a folder of its own
		m := &model{
			ctx: t.Context, store: s, prefix: fmt.Sprintf("run-%d/", run),
			objects: map[string][]byte{}, etags: map[string]string{}, old: []string{"", "0"},
		}
		for range rapid.IntRange(1, 12).Draw(rt, "operations") {
			rapid.SampledFrom([]func(*rapid.T){m.put, m.putIf, m.get, m.delete, m.list}).Draw(rt, "operation")(rt)
		}
		m.list(rt)
	})
}

type model struct {
	ctx     func() context.Context
	store   object.Store
	prefix  string
	objects map[string][]byte // what is stored, by key
	etags   map[string]string // and its ETag
	old     []string          // ETags seen so far
}

func (m *model) key(t *rapid.T) string {
	return m.prefix + rapid.SampledFrom([]string{"a", "b/a", "b/b", "b-", "c/d/e"}).Draw(t, "key")
}

// body is random in size; it begins with a nonce, so that it has an ETag of its own.
func (m *model) body(t *rapid.T) []byte {
	return append([]byte(rand.Text()), rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "body")...)
}

func (m *model) stored(key, etag string, body []byte) {
	m.objects[key], m.etags[key] = body, etag
	m.old = append(m.old, etag)
}

func (m *model) put(t *rapid.T) {
	key, body := m.key(t), m.body(t)
	etag, err := m.store.Put(m.ctx(), key, body)
	if err != nil {
		t.Fatal(err)
	}
	m.stored(key, etag, body)
}

func (m *model) putIf(t *rapid.T) {
	key, body := m.key(t), m.body(t)
	match := m.etags[key] // the right one, also if it is empty since there is no object
	if rapid.Bool().Draw(t, "any ETag") {
		match = rapid.SampledFrom(m.old).Draw(t, "ETag")
	}
	etag, err := m.store.PutIf(m.ctx(), key, body, match)
	if match != m.etags[key] {
		if !errors.Is(err, object.ErrPrecondition) {
			t.Fatalf("PutIf(%s, %q) over %q: %v", key, match, m.etags[key], err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	m.stored(key, etag, body)
}

func (m *model) get(t *rapid.T) {
	key := m.key(t)
	off, n := rapid.Int64Range(0, 150).Draw(t, "off"), rapid.Int64Range(-1, 150).Draw(t, "n")
	got, etag, err := m.store.GetRange(m.ctx(), key, off, n)
	want, ok := m.objects[key]
	if !ok {
		if !errors.Is(err, object.ErrNotFound) {
			t.Fatalf("GetRange of a missing object: %v", err)
		}
		return
	}
	want = want[min(off, int64(len(want))):]
	if n >= 0 {
		want = want[:min(n, int64(len(want)))]
	}
	if err != nil || !bytes.Equal(got, want) || etag != m.etags[key] {
		t.Fatalf("GetRange(%s, %d, %d): %q, %q, %v; want %q, %q", key, off, n, got, etag, err, want, m.etags[key])
	}
}

func (m *model) delete(t *rapid.T) {
	key := m.key(t)
	if err := m.store.Delete(m.ctx(), key); err != nil {
		t.Fatal(err)
	}
	delete(m.objects, key)
	delete(m.etags, key)
}

func (m *model) list(t *rapid.T) {
	type entry struct {
		Key, ETag string
		Size      int64
	}
	var got, want []entry
	for info, err := range m.store.List(m.ctx(), m.prefix, "") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, entry{info.Key, info.ETag, info.Size})
	}
	for key, body := range m.objects {
		want = append(want, entry{key, m.etags[key], int64(len(body))})
	}
	slices.SortFunc(want, func(a, b entry) int { return bytes.Compare([]byte(a.Key), []byte(b.Key)) })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("List: (-want +got)\n%s", diff)
	}
}
