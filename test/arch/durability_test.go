package arch

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDurabilityPage looks for each test that docs/DURABILITY.md names, in the package that it names before it.
func TestDurabilityPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/DURABILITY.md")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile("`([a-z0-9/]+)`|\\b(Test[A-Z][A-Za-z0-9]+)")
	found := 0
	for line := range strings.Lines(string(page)) {
		pkg := ""
		for _, m := range names.FindAllStringSubmatch(line, -1) {
			if m[2] == "" {
				pkg = m[1]
				continue
			}
			found++
			if !declared(t, pkg, m[2]) {
				t.Errorf("package %q has no %s, which the page names", pkg, m[2])
			}
		}
	}
	if found < 40 {
		t.Errorf("only %d names of tests were found in the page", found)
	}
}

func declared(t *testing.T, pkg, test string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", pkg, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(source), "\nfunc "+test+"(t *testing.T)") {
			return true
		}
	}
	return false
}
