// Package memory is an object store in memory, for tests.
//
// It is linearizable, keeps every rule of the contract strictly (also the one that
// no key is a path prefix of another) and takes no time. To make it fail, wrap it:
//
//	store := object.Fault(memory.New(), func(c object.Call) object.Outcome { ... })
package memory

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sluice/object"
)

// Store is an object.Store in memory.
type Store struct {
	mu      sync.RWMutex
	objects map[string]entry
	folders map[string]int // how many keys begin with this and a slash
	version int64          // of the last write; ETags are made of it, so none repeats
}

var _ object.Store = (*Store)(nil)

type entry struct {
	body []byte // never changed
	info object.Info
}

// New returns an empty store.
func New() *Store {
	return &Store{objects: make(map[string]entry), folders: make(map[string]int)}
}

// Put implements object.Store.
func (s *Store) Put(ctx context.Context, key string, body []byte) (string, error) {
	return s.put(ctx, object.OpPut, key, body, func(entry, bool) bool { return true })
}

// PutIf implements object.Store.
func (s *Store) PutIf(ctx context.Context, key string, body []byte, match string) (string, error) {
	return s.put(ctx, object.OpPutIf, key, body, func(e entry, exists bool) bool {
		return exists == (match != "") && e.info.ETag == match
	})
}

func (s *Store) put(ctx context.Context, op object.Op, key string, body []byte,
	allowed func(e entry, exists bool) bool,
) (string, error) {
	if err := check(ctx, op, key); err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old, exists := s.objects[key]
	if !allowed(old, exists) {
		return "", &object.Error{Op: op, Key: key, Err: object.ErrPrecondition}
	}
	if !exists {
		if err := s.claim(key); err != nil {
			return "", &object.Error{Op: op, Key: key, Err: err}
		}
	}
	s.version++
	e := entry{bytes.Clone(body), object.Info{
		Key: key, Size: int64(len(body)), ETag: strconv.FormatInt(s.version, 16), ModTime: time.Now(),
	}}
	s.objects[key] = e
	return e.info.ETag, nil
}

// claim makes sure that a new key is no path prefix of another, nor another of it,
// and counts it in its folders.
func (s *Store) claim(key string) error {
	if s.folders[key] > 0 {
		return fmt.Errorf("other keys begin with %q", key+"/")
	}
	for folder := range folders(key) {
		if _, ok := s.objects[folder]; ok {
			return fmt.Errorf("there is an object %q", folder)
		}
	}
	for folder := range folders(key) {
		s.folders[folder]++
	}
	return nil
}

// folders yields every path prefix of a key: "a" and "a/b" of "a/b/c".
func folders(key string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range len(key) {
			if key[i] == '/' && !yield(key[:i]) {
				return
			}
		}
	}
}

// GetRange implements object.Store. The caller may change what it gets.
func (s *Store) GetRange(ctx context.Context, key string, off, n int64) ([]byte, string, error) {
	e, err := s.find(ctx, object.OpGetRange, key)
	if err != nil {
		return nil, "", err
	}
	if off < 0 {
		return nil, "", &object.Error{Op: object.OpGetRange, Key: key, Err: fmt.Errorf("negative offset %d", off)}
	}
	rest := e.body[min(off, int64(len(e.body))):]
	if n >= 0 {
		rest = rest[:min(n, int64(len(rest)))]
	}
	return bytes.Clone(rest), e.info.ETag, nil
}

// Stat implements object.Store.
func (s *Store) Stat(ctx context.Context, key string) (object.Info, error) {
	e, err := s.find(ctx, object.OpStat, key)
	return e.info, err
}

func (s *Store) find(ctx context.Context, op object.Op, key string) (entry, error) {
	if err := check(ctx, op, key); err != nil {
		return entry{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	e, ok := s.objects[key]
	if !ok {
		return entry{}, &object.Error{Op: op, Key: key, Err: object.ErrNotFound}
	}
	return e, nil
}

// List implements object.Store. It yields what there was when it began.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[object.Info, error] {
	return func(yield func(object.Info, error) bool) {
		if err := object.CheckPrefix(prefix); err != nil {
			yield(object.Info{}, &object.Error{Op: object.OpList, Key: prefix, Err: err})
			return
		}
		for _, info := range s.snapshot(prefix, after) {
			if err := ctx.Err(); err != nil {
				yield(object.Info{}, &object.Error{Op: object.OpList, Key: prefix, Err: err})
				return
			}
			if !yield(info, nil) {
				return
			}
		}
	}
}

func (s *Store) snapshot(prefix, after string) []object.Info {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var found []object.Info
	for key, e := range s.objects {
		if strings.HasPrefix(key, prefix) && key > after {
			found = append(found, e.info)
		}
	}
	slices.SortFunc(found, func(a, b object.Info) int { return strings.Compare(a.Key, b.Key) })
	return found
}

// Delete implements object.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := check(ctx, object.OpDelete, key); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.objects[key]; !ok {
		return nil
	}
	delete(s.objects, key)
	for folder := range folders(key) {
		if s.folders[folder]--; s.folders[folder] == 0 {
			delete(s.folders, folder)
		}
	}
	return nil
}

func check(ctx context.Context, op object.Op, key string) error {
	err := object.CheckKey(key)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return &object.Error{Op: op, Key: key, Err: err}
	}
	return nil
}
