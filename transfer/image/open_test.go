package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestDetect(t *testing.T) {
	vdi := make([]byte, 512)
	binary.LittleEndian.PutUint32(vdi[0x40:], 0xbeda107f)
	for _, test := range []struct {
		head, tail string
		want       Format
	}{
		{"", "", Raw},
		{"\xeb\x63\x90", "", Raw},
		{"QFI\xfb\x00\x00\x00\x03", "", QCOW2},
		{"KDMV", "", VMDK},
		{"# Disk DescriptorFile\n", "", VMDK},
		{"vhdxfile", "", VHDX},
		{"conectix", "", VPC},
		{"", "conectix", VPC},
		{string(vdi), "", VDI},
		{"QFI", "", Raw},
	} {
		if got := Detect([]byte(test.head), []byte(test.tail)); got != test.want {
			t.Errorf("%q %q is %s", test.head, test.tail, got)
		}
	}
	for name, want := range map[string]bool{"qcow2": true, "VHD": true, "raw": true, "": false, "luks": false} {
		if _, err := ParseReadable(name); (err == nil) != want {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := ParseWritable("vdi"); err == nil {
		t.Error("vdi can be written")
	}
}

// sparseFile makes a file with data and holes.
func sparseFile(t *testing.T) (path string, data []byte) {
	t.Helper()
	data = make([]byte, 10<<20+1000)
	random := rand.NewChaCha8([32]byte{2})
	for _, at := range []int{1 << 20, 6<<20 + 4096, 10 << 20} {
		if _, err := random.Read(data[at : at+1000]); err != nil {
			t.Fatal(err)
		}
	}
	path = filepath.Join(t.TempDir(), "disk.img")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, at := range []int64{1 << 20, 6<<20 + 4096, 10 << 20} {
		if _, err := f.WriteAt(data[at:at+1000], at); err != nil {
			t.Fatal(err)
		}
	}
	return path, data
}

// imported opens an image and imports it into a volume of 12 MiB.
func imported(ctx context.Context, name string, o Options) (data []byte, sum string, p *Progress, err error) {
	i, err := Open(ctx, name, o)
	if err != nil {
		return nil, "", nil, err
	}
	v := newMemoryVolume(12<<20, 0)
	p = &Progress{}
	sum, err = Import(ctx, i, v, 12<<20, Mark{}, p)
	if err == nil && i.Source != nil {
		err = i.Source.Unchanged()
	}
	return v.data, sum, p, errors.Join(err, i.Close())
}

func checkImport(t *testing.T, name string, o Options, want []byte) *Progress {
	t.Helper()
	got, sum, p, err := imported(t.Context(), name, o)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got[:len(want)], want) || !allZero(got[len(want):]) {
		t.Error("the volume is not the image")
	}
	if digest := sha256.Sum256(want); o.Format == Raw && sum != hex.EncodeToString(digest[:]) {
		t.Errorf("checksum %s", sum)
	}
	return p
}

func TestFile(t *testing.T) {
	path, data := sparseFile(t)
	if p := checkImport(t, path, Options{Format: Raw}, data); p.Moved.Load() > 1<<20 {
		t.Errorf("%d bytes of a sparse file were moved", p.Moved.Load())
	}
	checkImport(t, path, Options{}, data)
	checkImport(t, "-", Options{Stdin: bytes.NewReader(data)}, data)
	checkImport(t, "-", Options{Stdin: bytes.NewReader(nil)}, nil)
	if _, err := Open(t.Context(), "-", Options{Stdin: strings.NewReader("QFI\xfb")}); err == nil || !strings.Contains(err.Error(), "save it to a file") {
		t.Errorf("qcow2 from the standard input: %v", err)
	}
	if _, err := Open(t.Context(), "-", Options{Format: VMDK}); err == nil {
		t.Error("vmdk from the standard input")
	}
	for _, bad := range []string{filepath.Join(t.TempDir(), "none"), t.TempDir(), "/dev/null"} {
		if _, err := Open(t.Context(), bad, Options{}); err == nil {
			t.Errorf("%s is opened", bad)
		}
	}
}

// TestChangedFile: an image that changes while it is read is no image of anything.
func TestChangedFile(t *testing.T) {
	path, _ := sparseFile(t)
	i, err := Open(t.Context(), path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	before := i.Identity()
	if err := i.Source.Unchanged(); err != nil {
		t.Error(err)
	}
	if err := os.Chtimes(path, time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := i.Source.Unchanged(); err == nil {
		t.Error("nobody notices")
	}
	if err := i.Close(); err != nil {
		t.Error(err)
	}
	again, err := Open(t.Context(), path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if again.Identity() == before {
		t.Error("it has the same identity")
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

// web serves an image, and fails as it is told.
type web struct {
	data     []byte
	version  atomic.Int32 // of the image
	noRanges bool
	requests atomic.Int32
	fault    func(n int32, w http.ResponseWriter) bool // true: it has answered
}

func (s *web) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if n := s.requests.Add(1); s.fault != nil && s.fault(n, w) {
		return
	}
	if s.noRanges {
		r.Header.Del("Range")
	}
	w.Header().Set("ETag", fmt.Sprintf("\"v%d\"", s.version.Load()))
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(s.data))
}

func TestURL(t *testing.T) {
	_, data := sparseFile(t)
	server := func(s *web) string {
		s.data = data
		x := httptest.NewServer(s)
		t.Cleanup(x.Close)
		return x.URL + "/disk.raw"
	}
	t.Run("ranges", func(t *testing.T) { checkImport(t, server(&web{}), Options{Format: Raw}, data) })
	t.Run("no ranges", func(t *testing.T) { checkImport(t, server(&web{noRanges: true}), Options{Format: Raw}, data) })
	t.Run("a server that fails", func(t *testing.T) {
		quick := func(n int32, w http.ResponseWriter) bool {
			switch {
			case n == 1 || n%3 != 0:
				return false
			case n%2 == 0:
				w.WriteHeader(http.StatusServiceUnavailable)
			default:
				panic(http.ErrAbortHandler) // the connection breaks
			}
			return true
		}
		checkImport(t, server(&web{fault: quick}), Options{Format: Raw, pause: time.Millisecond}, data)
	})
	t.Run("it changes", func(t *testing.T) {
		s := &web{}
		url := server(s)
		s.fault = func(n int32, _ http.ResponseWriter) bool {
			if n == 2 {
				s.version.Add(1)
			}
			return false
		}
		if _, _, _, err := imported(t.Context(), url, Options{Format: Raw}); err == nil || !strings.Contains(err.Error(), "it has changed on the server") {
			t.Errorf("%v", err)
		}
	})
	t.Run("not there", func(t *testing.T) {
		url := server(&web{fault: func(_ int32, w http.ResponseWriter) bool { w.WriteHeader(http.StatusNotFound); return true }})
		url = strings.Replace(url, "http://", "http://joe:hidden@", 1)
		_, err := Open(t.Context(), url, Options{})
		if err == nil || !strings.Contains(err.Error(), "404") || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%v", err)
		}
	})
	t.Run("nobody there", func(t *testing.T) {
		if _, err := Open(t.Context(), "http://joe:hidden@127.0.0.1:1/", Options{}); err == nil || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%v", err)
		}
	})
	if _, err := Open(t.Context(), "https://", Options{}); err == nil {
		t.Error("no host")
	}
}

func needQEMU(t *testing.T) {
	t.Helper()
	for _, name := range []string{"qemu-img", "qemu-nbd"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%s is not installed", name)
		}
	}
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
}

// TestFormats: what QEMU has written is read, and what is written QEMU finds the same.
func TestFormats(t *testing.T) {
	needQEMU(t)
	raw, data := sparseFile(t)
	data = append(data, make([]byte, (512-len(data)%512)%512)...) // QEMU counts in sectors
	dir := t.TempDir()
	for _, format := range []Format{QCOW2, VMDK, VHDX, VDI} {
		t.Run(string(format), func(t *testing.T) {
			path := filepath.Join(dir, string(format))
			run(t, "qemu-img", "convert", "-O", string(format), raw, path)
			if p := checkImport(t, path, Options{}, data); format == QCOW2 && p.Moved.Load() > 1<<20 {
				t.Errorf("%d bytes of a sparse image were moved", p.Moved.Load())
			}
			if !slices.Contains(writable, format) {
				return
			}
			m := &memoryMoment{data: make([]byte, 12<<20), extents: []Extent{{0, 12 << 20}}}
			copy(m.data, data)
			out := filepath.Join(dir, "out."+string(format))
			if err := ExportFile(t.Context(), m, format, out, &Progress{}); err != nil {
				t.Fatal(err)
			}
			run(t, "qemu-img", "compare", "-f", "raw", "-F", string(format), raw, out)
		})
	}
	if left, err := filepath.Glob(filepath.Join(os.TempDir(), "sluice-image-*")); err != nil || len(left) > 0 {
		t.Errorf("left: %v %v", left, err)
	}
}

// TestFormatAtURL: QEMU reads from the server itself, and is watched.
func TestFormatAtURL(t *testing.T) {
	needQEMU(t)
	raw, data := sparseFile(t)
	path := filepath.Join(t.TempDir(), "image")
	run(t, "qemu-img", "convert", "-O", "qcow2", raw, path)
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := &web{data: file}
	server := httptest.NewServer(s)
	defer server.Close()
	if out, err := exec.CommandContext(t.Context(), "qemu-img", "info", server.URL).CombinedOutput(); err != nil {
		t.Skipf("QEMU does not read from URLs here: %s", out)
	}
	checkImport(t, server.URL, Options{}, append(data, make([]byte, (512-len(data)%512)%512)...))
	if _, err := Open(t.Context(), server.URL, Options{SHA256: strings.Repeat("0", 64)}); err == nil || !strings.Contains(err.Error(), "download it first") {
		t.Errorf("%v", err)
	}
	i, err := Open(t.Context(), server.URL, Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.version.Add(1)
	if err := i.Source.Unchanged(); err == nil {
		t.Error("nobody notices that it has changed")
	}
	if err := i.Close(); err != nil {
		t.Error(err)
	}
}

// TestRefused: an image must not make us read other files of this machine.
func TestRefused(t *testing.T) {
	needQEMU(t)
	raw, _ := sparseFile(t)
	dir := t.TempDir()
	backed, split, flat := filepath.Join(dir, "backed"), filepath.Join(dir, "split"), filepath.Join(dir, "flat.vmdk")
	run(t, "qemu-img", "create", "-q", "-f", "qcow2", "-b", raw, "-F", "raw", backed)
	run(t, "qemu-img", "create", "-q", "-f", "qcow2", "-o", "data_file="+filepath.Join(dir, "data"), split, "1M")
	run(t, "qemu-img", "convert", "-O", "vmdk", "-o", "subformat=monolithicFlat", raw, flat)
	descriptor, err := os.ReadFile(flat)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := filepath.Join(dir, "elsewhere.vmdk")
	if err := os.WriteFile(elsewhere, bytes.ReplaceAll(descriptor, []byte("flat-flat.vmdk"), []byte(raw)), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		backed: "only the difference to another one", split: "in another file", elsewhere: "in another directory",
	} {
		if _, err := Open(t.Context(), path, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", filepath.Base(path), err)
		}
	}
	i, err := Open(t.Context(), flat, Options{}) // two files in one directory are one image
	if err != nil {
		t.Fatal(err)
	}
	if err := i.Close(); err != nil {
		t.Error(err)
	}
	bad := filepath.Join(dir, "bad")
	if err := os.WriteFile(bad, []byte("QFI\xfb and then nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), bad, Options{}); err == nil || !strings.Contains(err.Error(), "qemu-img") {
		t.Errorf("%v", err)
	}
	if _, err := Open(t.Context(), flat, Options{SHA256: strings.Repeat("0", 64)}); !errors.Is(err, ErrChecksum) {
		t.Errorf("%v", err)
	}
}

// TestToolMissing: who lacks QEMU's tools is told what to install.
func TestToolMissing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "q")
	if err := os.WriteFile(path, []byte("QFI\xfb"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", "")
	_, err := Open(t.Context(), path, Options{})
	if _, ok := errors.AsType[*ToolError](err); !ok || !strings.Contains(err.Error(), "apt install qemu-utils") {
		t.Errorf("%v", err)
	}
}
