// Package arch holds the import graph of the module to the list in imports.txt, so that
// a new arrow between two packages, or a new dependency, is seen and decided on.
//
//	go test ./test/arch -update    writes the list anew
//
// The list has a line for each package, with the packages of this module and the modules
// of others that it imports, tests left out. Whatever the list says, the rules below hold.
package arch

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write imports.txt anew")

const module = "sluice"

// rule says who must not import what. Both sides are prefixes of paths, whole elements.
type rule struct {
	what   string   // a package or module
	only   []string // the packages that may import it; nil: see never
	never  []string // the packages that must not
	reason string
}

var rules = []rule{
	{what: "sluice/volume", never: []string{"sluice/target", "sluice/object"}, reason: "the target declares the disk that it needs"},
	{what: "sluice/object", never: []string{"sluice/target"}, reason: "the target knows no store"},
	{what: "sluice/target", only: []string{"sluice/target", "sluice/appliance", "sluice/test"}, reason: "volumes know nothing of iSCSI"},
	{what: "sluice/appliance", only: []string{"sluice/appliance", "sluice/cmd"}, reason: "the appliance composes; arrows point down"},
	{what: "sluice/cmd", only: []string{}, reason: "a program is no library"},
	{what: "sluice/test", only: []string{"sluice/test"}, reason: "the product does not need its tests"},
	{what: "github.com/aws", only: []string{"sluice/object/s3"}, reason: "one package speaks S3"},
	{what: "github.com/dgraph-io/badger", only: []string{"sluice/volume", "sluice/cache", "sluice/appliance"}, reason: "only what keeps an index in it knows the index"},
	{what: "github.com/gostor/gotgt", only: []string{"sluice/target"}, reason: "the target is the seam to gotgt"},
	{what: "github.com/spf13/cobra", only: []string{"sluice/cmd"}, reason: "packages have no command line"},
}

func (r rule) broken(importer, imported string) bool {
	if !within(imported, r.what) || within(importer, r.what) {
		return false
	}
	in := func(prefix string) bool { return within(importer, prefix) }
	if r.never != nil {
		return slices.ContainsFunc(r.never, in)
	}
	return !slices.ContainsFunc(r.only, in)
}

func within(path, prefix string) bool { return path == prefix || strings.HasPrefix(path, prefix+"/") }

func TestImportRules(t *testing.T) {
	for importer, imports := range graph(t) {
		for _, imported := range imports {
			for _, rule := range rules {
				if rule.broken(importer, imported) {
					t.Errorf("%s imports %s: %s", importer, imported, rule.reason)
				}
			}
		}
	}
}

func TestImportList(t *testing.T) {
	got := graph(t)
	if *update {
		if err := os.WriteFile("imports.txt", format(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := read(t)
	for _, name := range slices.Sorted(maps.Keys(got)) {
		for _, imported := range got[name] {
			if !slices.Contains(want[name], imported) {
				t.Errorf("new: %s imports %s (if that is meant: go test ./test/arch -update)", name, imported)
			}
		}
	}
	for name, imports := range want {
		for _, imported := range imports {
			if !slices.Contains(got[name], imported) {
				t.Errorf("gone: %s no longer imports %s (go test ./test/arch -update)", name, imported)
			}
		}
	}
}

// TestForeignEngineUnreachable: gotgt gives us its model; its own iSCSI engine, which
// answers failed reads with zeros, must not even be linked.
func TestForeignEngineUnreachable(t *testing.T) {
	for _, p := range list(t, "-deps", "./cmd/sluice") {
		for _, engine := range []string{"github.com/gostor/gotgt/pkg/port", "github.com/gostor/gotgt/pkg/scsi/backingstore"} {
			if within(p.ImportPath, engine) {
				t.Errorf("%s is linked into the program", p.ImportPath)
			}
		}
	}
}

// listed is the part of go list's output that is used here.
type listed struct {
	ImportPath string
	Standard   bool
	Imports    []string
	Module     *struct{ Path string }
}

func list(t *testing.T, args ...string) []listed {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Standard,Imports,Module"}, args...)...)
	cmd.Dir = "../.."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v: %s", err, &stderr)
	}
	var all []listed
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("reading go list: %v", err)
		}
		all = append(all, p)
	}
}

// graph returns, for each package of this module, the packages of this module and the
// modules of others that it imports, sorted.
func graph(t *testing.T) map[string][]string {
	t.Helper()
	all := list(t, "-deps", "./...")
	owner := map[string]string{} // package path -> how it is listed; the standard library is not
	for _, p := range all {
		switch {
		case p.Standard || p.Module == nil:
		case p.Module.Path == module:
			owner[p.ImportPath] = p.ImportPath
		default:
			owner[p.ImportPath] = p.Module.Path
		}
	}
	imports := map[string][]string{}
	for _, p := range all {
		if p.Module == nil || p.Module.Path != module {
			continue
		}
		names := map[string]bool{}
		for _, imported := range p.Imports {
			if name := owner[imported]; name != "" {
				names[name] = true
			}
		}
		imports[p.ImportPath] = slices.Sorted(maps.Keys(names))
	}
	return imports
}

func format(graph map[string][]string) []byte {
	var out bytes.Buffer
	fmt.Fprintln(&out, "# What each package imports; written by: go test ./test/arch -update")
	for _, name := range slices.Sorted(maps.Keys(graph)) {
		fmt.Fprintf(&out, "%s:\n", name)
		for _, imported := range graph[name] {
			fmt.Fprintf(&out, "\t%s\n", imported)
		}
	}
	return out.Bytes()
}

func read(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("imports.txt")
	if err != nil {
		t.Fatal(err)
	}
	graph, name := map[string][]string{}, ""
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		switch line := lines.Text(); {
		case strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "\t"):
			graph[name] = append(graph[name], line[1:])
		default:
			name = strings.TrimSuffix(line, ":")
		}
	}
	return graph
}
