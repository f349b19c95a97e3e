package dir_test

import (
	"testing"

	"sluice/object"
	"sluice/object/dir"
	"sluice/object/storetest"
)

func open(t testing.TB, path string) *dir.Store {
	t.Helper()
	s, err := dir.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t testing.TB) object.Store { return open(t, t.TempDir()) })
}
