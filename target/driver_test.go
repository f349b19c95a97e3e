package target

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	gotgt "github.com/gostor/gotgt/pkg/scsi"
)

func TestDriver(t *testing.T) {
	Register(Options{Authorizer: everybody{}})
	s, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	d := Driver{s}
	if d.Stats().IsClientConnected {
		t.Error("a session that there cannot be")
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if err := d.Run(0); err != nil {
		t.Errorf("Run after Close: %v", err)
	}
	if d.NewTarget("iqn.2026-11.test:x", nil) == nil || d.Resize(1) == nil {
		t.Error("what is not supported was accepted")
	}
	if _, err := gotgt.NewTargetDriver("iscsi", nil); err == nil {
		t.Error("gotgt's own iSCSI driver is registered")
	}
}

// TestFrameOnly builds a program that uses the engine through gotgt's registry, and looks
// for code of gotgt's own engine in it.
func TestFrameOnly(t *testing.T) {
	dir := t.TempDir()
	main := filepath.Join(dir, "main.go")
	const source = `package main

import "sluice/target"

func main() {
	target.Register(target.Options{})
	s, err := target.Open()
	if err != nil {
		panic(err)
	}
	println(len(s.Sessions("")))
}
`
	if err := os.WriteFile(main, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "program")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, main)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	symbols, err := exec.CommandContext(t.Context(), "go", "tool", "nm", binary).Output()
	if err != nil {
		t.Fatalf("nm: %v", err)
	}
	if !strings.Contains(string(symbols), "gotgt/pkg/scsi.NewTargetDriver") && !strings.Contains(string(symbols), "gotgt/pkg/scsi.") {
		t.Fatal("the program does not use gotgt at all")
	}
	for line := range strings.Lines(string(symbols)) {
		if name, found := ownEngine(line); found {
			t.Errorf("gotgt's own engine is linked: %s", name)
		}
	}
}

// ownEngine tells whether a symbol belongs to what must not be linked.
func ownEngine(line string) (string, bool) {
	fields := strings.Fields(line)
	name := fields[len(fields)-1]
	if strings.Contains(name, "gotgt/pkg/port/") || strings.Contains(name, "gotgt/pkg/scsi/backingstore") {
		return name, true
	}
	_, local, ok := strings.Cut(name, "gotgt/pkg/scsi.")
	if !ok {
		return "", false
	}
	for _, part := range []string{"SPC", "SBC", "bsPerformCommand", "ITNexus", "Reserv", "NewSCSITargetService", "PerformCommand", "SCSITargetService"} {
		if strings.Contains(local, part) {
			return name, true
		}
	}
	return "", false
}
