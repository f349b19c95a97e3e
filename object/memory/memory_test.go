package memory_test

import (
	"testing"

	"sluice/object"
	"sluice/object/memory"
	"sluice/object/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(testing.TB) object.Store { return memory.New() })
}

func TestNoKeyIsAPathPrefixOfAnother(t *testing.T) {
	s := memory.New()
	for _, step := range []struct {
		key string
		ok  bool
	}{{"a/b/c", true}, {"a/b", false}, {"a", false}, {"a/b/c/d", false}, {"a/b2", true}} {
		if _, err := s.Put(t.Context(), step.key, nil); (err == nil) != step.ok {
			t.Errorf("Put(%s): %v", step.key, err)
		}
	}
	for _, key := range []string{"a/b/c", "a/b2"} {
		if err := s.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Put(t.Context(), "a", nil); err != nil {
		t.Errorf("once all below it are gone: %v", err)
	}
}
