package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"sluice/appliance/api"
	"sluice/transfer/image"
)

// importDocument is what "volume import --json" prints.
type importDocument struct {
	Volume  string  `json:"volume"`
	Image   string  `json:"image"`
	Format  string  `json:"format"`
	Size    int64   `json:"size_bytes"`              // of the disk in the image
	Resumed int64   `json:"resumed_bytes,omitempty"` // were there before
	Moved   int64   `json:"data_bytes"`              // written now; the rest is zeros
	SHA256  string  `json:"sha256,omitempty"`        // of the image, where its bytes are those of the disk
	Seconds float64 `json:"seconds"`
}

// importing is one call of the verb.
type importing struct {
	c      *client
	daemon *api.Client
	volume string

	image, format, mode, sum   string
	size                       api.Size
	create, resume, force, yes bool
}

func newVolumeImport(c *client) *cobra.Command {
	m := &importing{c: c}
	cmd := &cobra.Command{
		Use:   "import NAME --image FILE|URL|-",
		Short: "Fill a volume with a disk image",
		Long: "Copies a disk image into a volume: raw from a file, a block device, an http(s) URL or the standard input; qcow2,\n" +
			"vmdk, vhdx, vpc (vhd) and vdi by the QEMU tools of this machine. Only data is written: holes and zeros take no\n" +
			"space. What is behind the image in the volume is zeros afterwards. Until the import is finished no initiator\n" +
			"can log in. One that was interrupted goes on with --resume where it was.",
		Example: "  sluice volume import golden --image debian-13.qcow2 --create\n" +
			"  sluice volume import data --image https://example.org/disk.raw --create --size 100GiB --sha256 9f86d0...\n" +
			"  ssh host cat /dev/vg/disk | sluice volume import disk --image - --create --size 20GiB",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.completeVolume,
	}
	set := cmd.Flags()
	set.StringVar(&m.image, "image", "", "the image: a file, a block device, an http(s) URL, or - for the standard input")
	set.StringVar(&m.format, "format", "", "raw, qcow2, vmdk, vhdx, vpc or vdi (default: by its content)")
	set.BoolVar(&m.create, "create", false, "create the volume, as large as the image in whole MiB")
	set.Var(&m.size, "size", "with --create: a larger size")
	set.StringVar(&m.mode, "mode", "cached", "with --create: the mode of the volume")
	set.StringVar(&m.sum, "sha256", "", "the checksum of the image: fail if it is another one")
	set.BoolVar(&m.resume, "resume", false, "go on where the last import of this image ended")
	set.BoolVar(&m.force, "force", false, "also while initiators are logged in: what they have cached is wrong afterwards")
	set.BoolVar(&m.yes, "yes", false, "do not ask before data in the volume is overwritten")
	require(cmd, "image")
	cmd.RunE = c.volumeVerb(func(ctx context.Context, daemon *api.Client, name string) error {
		ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
		defer stop()
		m.daemon, m.volume = daemon, name
		return m.run(ctx)
	})
	return cmd
}

func (m *importing) run(ctx context.Context) error {
	opts, err := m.options()
	if err != nil {
		return err
	}
	img, err := image.Open(ctx, m.image, opts)
	if err != nil {
		return err
	}
	done, err := m.fill(ctx, img)
	if cerr := img.Close(); err == nil && cerr != nil {
		err = cerr
	}
	if err != nil {
		return m.hint(ctx, err)
	}
	return m.c.out.print(done, func(w io.Writer) {
		fmt.Fprintf(w, "Volume %s holds the image: %s, of which %s of data were written in %.1f s.\n",
			done.Volume, about(done.Size), about(done.Moved), done.Seconds)
		if done.SHA256 != "" {
			fields(w, "SHA-256", done.SHA256)
		}
	})
}

func (m *importing) options() (image.Options, error) {
	opts := image.Options{Stdin: m.c.env.stdin, SHA256: m.sum}
	if m.format != "" {
		format, err := image.ParseReadable(m.format)
		if err != nil {
			return opts, &usageError{err}
		}
		opts.Format = format
	}
	if sum, err := hex.DecodeString(m.sum); err != nil || m.sum != "" && len(sum) != 32 {
		return opts, usagef("--sha256 %q is not a SHA-256 in hexadecimal", m.sum)
	}
	if m.size != 0 && !m.create {
		return opts, usagef("--size is for --create")
	}
	if m.resume && m.image == "-" {
		return opts, usagef("an import from the standard input cannot be resumed")
	}
	return opts, nil
}

// fill makes the volume, if that is asked for, and copies the image into it.
func (m *importing) fill(ctx context.Context, img *image.Image) (*importDocument, error) {
	if m.resume && img.Identity() == "" {
		return nil, usagef("an import of %s cannot be resumed: nothing tells whether it is still the same image", m.image)
	}
	if err := m.prepare(ctx, img); err != nil {
		return nil, err
	}
	req := api.HoldRequest{Force: m.force, Image: img.Identity(), Resume: m.resume}
	if req.Image == "" {
		req.Image = "unknown" // so that a part of it is known to be a part
	}
	done := &importDocument{Volume: m.volume, Image: m.image, Format: string(img.Format)}
	err := m.daemon.HoldVolume(ctx, m.volume, req, func(ctx context.Context, hold api.Hold) error {
		return m.copy(ctx, img, hold, done)
	})
	return done, err
}

func (m *importing) copy(ctx context.Context, img *image.Image, hold api.Hold, done *importDocument) error {
	began := time.Now()
	to := &heldVolume{m.daemon, m.volume, hold.Token}
	var p image.Progress
	stop := m.c.watch(ctx, m.volume, img.Size, hold.Done, &p)
	sum, err := image.Import(ctx, img, to, hold.Size, image.Mark{Done: hold.Done, State: hold.State}, &p)
	stop()
	if err != nil {
		return err
	}
	if img.Exact {
		if err := image.CompareSum(m.sum, sum); err != nil {
			return fmt.Errorf("%w: volume %s now holds a wrong image, and is not usable", err, m.volume)
		}
		done.SHA256 = sum
	}
	if img.Source != nil {
		if err := img.Source.Unchanged(); err != nil {
			return err
		}
	}
	if err := to.finish(ctx); err != nil {
		return err
	}
	done.Size, done.Resumed, done.Moved, done.Seconds = p.Done.Load(), hold.Done, p.Moved.Load(), time.Since(began).Seconds()
	return nil
}

// prepare creates the volume, or asks whether its data may be overwritten.
func (m *importing) prepare(ctx context.Context, img *image.Image) error {
	v, err := m.daemon.ShowVolume(ctx, m.volume)
	if e, ok := errors.AsType[*api.Error](err); ok && e.Code == api.CodeNotFound && m.create {
		return m.createVolume(ctx, img)
	}
	if err != nil {
		return err
	}
	if m.create && !m.resume {
		return api.Errorf(api.CodeConflict, "volume %s exists", m.volume).WithHint("import without --create, or choose another name")
	}
	if img.Size > v.Size {
		return usagef("the image has %d bytes and volume %s only %d: resize it first", img.Size, m.volume, v.Size)
	}
	if v.Allocated == nil || *v.Allocated == 0 || m.resume || m.yes {
		return nil
	}
	if !m.c.env.interactive || m.c.out.json || m.image == "-" {
		return usagef("volume %s holds data, which the image replaces: say --yes if that is meant", m.volume)
	}
	return m.c.confirm("volume", m.volume)
}

func (m *importing) createVolume(ctx context.Context, img *image.Image) error {
	size := m.size
	if size == 0 {
		if img.Size < 0 {
			return usagef("how large the image is, is not known before its end: give the volume a --size")
		}
		size = max((api.Size(img.Size)+api.MiB-1)/api.MiB*api.MiB, api.MiB)
	}
	if err := api.CheckVolumeSize(size); err != nil {
		return &usageError{err}
	}
	if img.Size > int64(size) {
		return usagef("the image has %d bytes, more than --size %s", img.Size, size)
	}
	_, err := m.daemon.CreateVolume(ctx, api.CreateRequest{Name: m.volume, Size: int64(size), Mode: m.mode})
	return err
}

// hint says how to go on after a failure.
func (m *importing) hint(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		err = errors.New("the import was interrupted: go on with --resume")
		if m.image == "-" {
			err = errors.New("the import was interrupted")
		}
	}
	return err
}

// heldVolume is a volume that is imported into.
type heldVolume struct {
	daemon *api.Client
	name   string
	hold   string
}

// Write implements image.Volume.
func (h *heldVolume) Write(ctx context.Context, p []byte, off int64) error {
	return h.daemon.WriteVolume(ctx, h.name, h.hold, p, off)
}

// Zero implements image.Volume.
func (h *heldVolume) Zero(ctx context.Context, off, n int64) error {
	return h.daemon.ZeroVolume(ctx, h.name, h.hold, off, n)
}

// Mark implements image.Volume.
func (h *heldVolume) Mark(ctx context.Context, m image.Mark) error {
	return h.daemon.MarkVolume(ctx, h.name, h.hold, api.Mark{Done: m.Done, State: m.State})
}

func (h *heldVolume) finish(ctx context.Context) error {
	return h.daemon.MarkVolume(ctx, h.name, h.hold, api.Mark{Finished: true})
}
