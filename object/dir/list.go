package dir

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path"
	"slices"
	"strings"

	"sluice/object"
)

// List implements object.Store. Objects that come or go meanwhile may be seen or not.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[object.Info, error] {
	return func(yield func(object.Info, error) bool) {
		w := walk{store: s, ctxErr: ctx.Err, prefix: prefix, after: after, yield: yield}
		err := object.CheckPrefix(prefix)
		if err == nil {
			// Nothing above the last folder of the prefix needs to be read.
			err = w.folder(strings.TrimSuffix(prefix[:strings.LastIndexByte(prefix, '/')+1], "/"))
		}
		if err != nil && !errors.Is(err, fs.SkipAll) {
			yield(object.Info{}, fail(object.OpList, prefix, err))
		}
	}
}

// walk is one listing under way.
type walk struct {
	store         *Store
	ctxErr        func() error
	prefix, after string
	yield         func(object.Info, error) bool
}

// folder yields all objects below a folder ("" is the root) in the order of their keys.
// It returns fs.SkipAll when the consumer has enough.
func (w *walk) folder(dir string) error {
	names, err := w.names(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := w.ctxErr(); err != nil {
			return err
		}
		key := path.Join(dir, name)
		if strings.HasSuffix(name, "/") {
			err = w.subfolder(key)
		} else {
			err = w.file(key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// names returns the names in a folder, those of folders with a slash at the end: that
// is how they sort among the keys ("a-b" < "a/b" < "a0").
func (w *walk) names(dir string) ([]string, error) {
	entries, err := w.store.readDir(path.Join(".", dir))
	if errors.Is(missing(err), object.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		name := e.Name()
		if object.CheckKey(path.Join(dir, name)) != nil {
			continue // ours, or somebody else's
		}
		switch {
		case e.IsDir():
			names = append(names, name+"/")
		case e.Type().IsRegular():
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

func (s *Store) readDir(dir string) ([]fs.DirEntry, error) {
	d, err := s.root.Open(dir)
	if err != nil {
		return nil, err
	}
	entries, err := d.ReadDir(-1)
	return entries, errors.Join(err, d.Close())
}

// subfolder walks a folder unless no key in it can be wanted.
func (w *walk) subfolder(dir string) error {
	inside := dir + "/"
	if !strings.HasPrefix(inside, w.prefix) && !strings.HasPrefix(w.prefix, inside) {
		return nil
	}
	if w.after > inside && !strings.HasPrefix(w.after, inside) {
		return nil // all its keys sort before after
	}
	return w.folder(dir)
}

func (w *walk) file(key string) error {
	if key <= w.after || !strings.HasPrefix(key, w.prefix) {
		return nil
	}
	fi, err := w.store.root.Lstat(key)
	if errors.Is(err, os.ErrNotExist) {
		return nil // deleted meanwhile
	}
	if err != nil {
		return err
	}
	if !w.yield(infoOf(key, fi), nil) {
		return fs.SkipAll
	}
	return nil
}
