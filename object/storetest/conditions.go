package storetest

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"

	"sluice/object"
)

// racers is how many conditional writes go for one key at the same time.
const racers = 50

func testPutIf(t *testing.T, s object.Store) {
	putIf := func(body, match string) (string, error) {
		return s.PutIf(t.Context(), "object", []byte(body), match)
	}
	refused := func(what, body, match string) {
		t.Helper()
		if _, err := putIf(body, match); !errors.Is(err, object.ErrPrecondition) || object.Transient(err) {
			t.Errorf("%s: %v, want ErrPrecondition", what, err)
		}
	}
	written := func(body, match string) string {
		t.Helper()
		etag, err := putIf(body, match)
		if err != nil {
			t.Fatal(err)
		}
		got, gotTag, err := s.GetRange(t.Context(), "object", 0, -1)
		if err != nil || string(got) != body || gotTag != etag {
			t.Fatalf("read back: %q, %q, %v; want %q, %q", got, gotTag, err, body, etag)
		}
		return etag
	}

	refused("replace a missing object", "zero", "00000000000000000000000000000000")
	first := written("one", "")
	refused("create an existing object", "other", "")
	second := written("two", first)
	refused("replace a version that is gone", "other", first)
	third := put(t, s, "object", []byte("three"))
	refused("replace a version that Put has replaced", "other", second)
	written("four", third)

	info, err := s.Stat(t.Context(), "object")
	if err != nil {
		t.Fatal(err)
	}
	fifth := written("five", info.ETag) // Stat's ETag serves as well
	for listed, err := range s.List(t.Context(), "object", "") {
		if err != nil || listed.ETag != fifth {
			t.Errorf("listed %+v, %v; want ETag %q", listed, err, fifth)
		}
	}
	if err := s.Delete(t.Context(), "object"); err != nil {
		t.Fatal(err)
	}
	refused("replace a deleted object", "other", fifth)
	written("six", "")
}

func testPutIfRaceToCreate(t *testing.T, s object.Store) {
	for round := range 3 {
		key := fmt.Sprintf("race-%d", round)
		winners := race(t, s, key, "")
		if len(winners) != 1 {
			t.Fatalf("%d of %d created the same object: %v", len(winners), racers, winners)
		}
		checkWinner(t, s, key, winners)
	}
}

func testPutIfRaceToReplace(t *testing.T, s object.Store) {
	etag := put(t, s, "race", []byte("start"))
	for range 3 {
		winners := race(t, s, "race", etag)
		if len(winners) != 1 {
			t.Fatalf("%d of %d replaced the same version: %v", len(winners), racers, winners)
		}
		etag = checkWinner(t, s, "race", winners)
	}
}

// race lets many write key on the same condition; it returns the bodies that were accepted
// with their ETags.
func race(t *testing.T, s object.Store, key, match string) map[string]string {
	t.Helper()
	var mu sync.Mutex
	winners := map[string]string{}
	together(racers, func(i int) {
		// Where ETags are hashes of the content, a body written before would bring an old
		// ETag back: hence a nonce, as in all real use of PutIf.
		body := "racer " + strconv.Itoa(i) + " " + rand.Text()
		etag, err := s.PutIf(t.Context(), key, []byte(body), match)
		if err == nil {
			mu.Lock()
			defer mu.Unlock()
			winners[body] = etag
		} else if !errors.Is(err, object.ErrPrecondition) {
			t.Errorf("%s: %v", body, err)
		}
	})
	return winners
}

func checkWinner(t *testing.T, s object.Store, key string, winners map[string]string) (etag string) {
	t.Helper()
	got, gotTag, err := s.GetRange(t.Context(), key, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	if etag, ok := winners[string(got)]; !ok || etag != gotTag {
		t.Fatalf("the object is %q with ETag %q, accepted was %v", got, gotTag, winners)
	}
	return gotTag
}

// testReadersSeeWholeObjects replaces an object by others of different sizes under readers
// that must see one of them, whole. Its ETag must be its own or that of a version before:
// with a later one, a PutIf would replace a version that its writer has never seen.
func testReadersSeeWholeObjects(t *testing.T, s object.Store) {
	const versions = 20
	body := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, 100_000-1000*i) }
	type seen struct {
		version byte
		etag    string
	}
	var reads [4][]seen
	written := map[string]byte{put(t, s, "object", body(0)): 0}
	done := make(chan struct{})
	var wg sync.WaitGroup
	for i := range reads {
		wg.Go(func() {
			for {
				got, etag, err := s.GetRange(t.Context(), "object", 0, -1)
				if err != nil || len(got) == 0 || !bytes.Equal(got, body(int(got[0]))) {
					t.Errorf("read %d bytes, %v", len(got), err)
					return
				}
				reads[i] = append(reads[i], seen{got[0], etag})
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for i := 1; i < versions; i++ {
		written[put(t, s, "object", body(i))] = byte(i)
	}
	close(done)
	wg.Wait()
	for _, r := range slices.Concat(reads[:]...) {
		// A Put that was retried may have left a version whose ETag nobody was told.
		if version, ok := written[r.etag]; ok && version > r.version {
			t.Errorf("version %d was read with the ETag of version %d", r.version, version)
		}
	}
}
