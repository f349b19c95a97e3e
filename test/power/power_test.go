package power

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"sluice/test/crashfs"
	"sluice/volume"
)

// TestMain runs a writer instead of the tests where it is told to.
func TestMain(m *testing.M) {
	if text := os.Getenv(ordersVariable); text != "" {
		_, _ = io.Copy(io.Discard, os.Stdin) // until the file system is mounted
		if err := runWriter(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// effort says how much is tried.
type effort struct {
	seed   uint64
	points int // how many moments lose their power; 0: all
	draws  int // outcomes of each
	twice  int // one in so many of the recoveries loses its power, too
}

func efforts(t *testing.T) effort {
	t.Helper()
	e := effort{seed: rand.Uint64(), points: 40, draws: 2, twice: 25}
	if testing.Short() {
		e.points = 15
	}
	number := func(variable string, base int) (uint64, bool) {
		text := os.Getenv(variable)
		if text == "" || text == "all" {
			return 0, text == "all"
		}
		n, err := strconv.ParseUint(text, base, 64)
		if err != nil {
			t.Fatalf("%s: %v", variable, err)
		}
		return n, true
	}
	if n, ok := number("SLUICE_CRASHFS", 10); ok {
		e.points, e.draws, e.twice = int(n), 3, 50
	}
	if n, ok := number("SLUICE_CRASHFS_SEED", 16); ok {
		e.seed = n
	}
	t.Logf("SLUICE_CRASHFS_SEED=%x repeats the draws", e.seed)
	return e
}

// life is a writer's log, and where it began.
type life struct {
	start   *crashfs.Image
	log     []crashfs.Op
	bucket  bucket
	history *history
}

// TestLossOfPower is the test that the package is about.
func TestLossOfPower(t *testing.T) {
	if _, err := os.Stat("/dev/fuse"); err != nil || os.Geteuid() != 0 {
		t.Skip("needs root and /dev/fuse")
	}
	e := efforts(t)
	for _, mode := range []volume.Mode{volume.Cached, volume.Stored} {
		t.Run(string(mode), func(t *testing.T) {
			r := rand.New(rand.NewPCG(e.seed, 2))
			p := &prober{t: t, rnd: r, effort: e, mode: string(mode), boots: 1}
			first := life{history: newHistory(size / unitOf(mode)), bucket: bucket(p.scratch())}
			rec := crashfs.New(crashfs.NewTree())
			first.start = rec.Start()
			first.log = p.write(rec, orders{Seed: e.seed, Steps: 300, Bucket: first.bucket, Die: true}, orders{Seed: e.seed + 1, Steps: 300, First: 1 << 32, GoOn: true})
			p.probe(first, e.points, e.draws, true)
			t.Logf("%d operations (%d syncs); %d losses of power, %d of them during or after a recovery", len(first.log), syncs(first.log), p.crashes, p.second)
		})
	}
}

func syncs(log []crashfs.Op) (n int) {
	for _, op := range log {
		if op.Kind == crashfs.Sync || op.Kind == crashfs.SyncDir {
			n++
		}
	}
	return n
}

// prober takes the power away.
type prober struct {
	t *testing.T
	effort
	mode            string // of the volume
	rnd             *rand.Rand
	boots           int
	crashes, second int
}

// write runs writers, one after the other in the same boot of the machine, and returns their log.
func (p *prober) write(rec *crashfs.Recorder, all ...orders) []crashfs.Op {
	p.t.Helper()
	mount, boot, bucket := p.t.TempDir(), p.boot(), bucket(p.scratch())
	if err := all[0].Bucket.copyTo(bucket); err != nil {
		p.t.Fatal(err)
	}
	var writers []*started
	defer func() {
		for _, w := range writers {
			w.end()
		}
	}()
	for _, o := range all {
		o.Dir, o.Boot, o.Mode, o.Bucket = filepath.Join(mount, "data"), boot, p.mode, bucket
		writers = append(writers, p.start(o))
	}
	unmount, err := rec.Mount(mount)
	if err != nil {
		p.t.Fatal(err)
	}
	done := 0
	for _, w := range writers {
		if w.dies && p.rnd.IntN(2) == 0 {
			rec.Fail(w.dieInSync(1 + p.rnd.IntN(40)))
		}
		if err = w.run(); err != nil {
			break
		}
		rec.Fail(nil)
		log := rec.Log()
		if err = bucket.bring(log[done:]); err != nil { // the next one finds it as the log says, though this one died
			break
		}
		done = len(log)
	}
	if err = errors.Join(err, unmount()); err != nil {
		p.t.Fatalf("the writer: %v", err)
	}
	return rec.Log()
}

// started is a writer that waits until it is told to begin: nothing forks while the file system is mounted.
type started struct {
	cmd   *exec.Cmd
	begin io.Closer
	out   bytes.Buffer
	dies  bool
	end   func()
}

func (p *prober) start(o orders) *started {
	p.t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(p.t.Context(), 5*time.Minute)
	w := &started{cmd: exec.CommandContext(ctx, os.Args[0]), dies: o.Die, end: cancel}
	w.cmd.Env = append(os.Environ(), ordersVariable+"="+string(text))
	w.cmd.Stdout, w.cmd.Stderr = &w.out, &w.out
	if w.begin, err = w.cmd.StdinPipe(); err == nil {
		err = w.cmd.Start()
	}
	if err != nil {
		cancel()
		p.t.Fatal(err)
	}
	return w
}

// dieInSync kills the writer in the middle of its n-th sync: what that was for is in the page cache only.
func (w *started) dieInSync(n int) crashfs.Failure {
	return func(kind crashfs.Kind) syscall.Errno {
		if kind != crashfs.Sync {
			return 0
		}
		if n--; n != 0 {
			return 0
		}
		if err := w.cmd.Process.Kill(); err != nil {
			panic(err) // it waits for the sync
		}
		return syscall.EIO
	}
}

func (w *started) run() error {
	err := errors.Join(w.begin.Close(), w.cmd.Wait())
	if status, ok := w.cmd.ProcessState.Sys().(syscall.WaitStatus); w.dies && ok && status.Signal() == syscall.SIGKILL {
		return nil
	}
	if err != nil || w.dies {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(w.out.Bytes()))
	}
	return nil
}

func (p *prober) boot() string {
	p.boots++
	return fmt.Sprintf("boot-%d", p.boots)
}

// moments chooses the points of a log that lose their power: the number of operations that came before. Half of them are
// next to a sync, and some right after a recovery, or in the midst of an opening.
func (p *prober) moments(log []crashfs.Op, n int) []int {
	var all, near []int
	for i, op := range log {
		all = append(all, i+1)
		if op.Kind == crashfs.Sync || op.Kind == crashfs.SyncDir {
			near = append(near, i, i+1)
		}
	}
	if n == 0 || n >= len(all) {
		return all
	}
	chosen := map[int]bool{len(log): true}
	for i, op := range log {
		if op.Kind != crashfs.Mark {
			continue
		}
		switch e, err := decode(op.Data); {
		case err != nil:
			p.t.Fatal(err)
		case e.Kind == "state" || e.Kind == "seen": // what a recovery has shown is to stay, from then on
			for later := range 16 {
				chosen[min(i+1+later, len(log))] = true
			}
		case e.Kind == "opened":
			for range 10 {
				chosen[max(0, i-p.rnd.IntN(40))] = true
			}
		}
	}
	for i := range n {
		from := all
		if i%2 == 0 && len(near) > 0 {
			from = near
		}
		chosen[from[p.rnd.IntN(len(from))]] = true
	}
	return slices.Sorted(maps.Keys(chosen))
}

// probe goes through a life and takes the power away at n points of it.
func (p *prober) probe(l life, n, draws int, again bool) {
	p.t.Helper()
	done := 0
	for _, moment := range p.moments(l.log, n) {
		for ; done < moment; done++ {
			p.advance(&l, l.log[done])
		}
		if !l.bucket.has("names/" + name + ".json") {
			continue // the volume is not there yet
		}
		for range draws {
			p.crashes++
			tree := l.start.Crash(p.rnd)
			if err := p.recover(tree, l); err != nil {
				p.t.Fatalf("power lost after operation %d of %d: %v", moment, len(l.log), err)
			}
			if again && p.rnd.IntN(p.twice) == 0 {
				p.recoverTwice(tree, l)
			}
		}
	}
}

func (p *prober) advance(l *life, op crashfs.Op) {
	p.t.Helper()
	if op.Kind != crashfs.Mark {
		l.start.Apply(op)
		return
	}
	e, err := decode(op.Data)
	if err != nil {
		p.t.Fatal(err)
	}
	switch e.Kind {
	case "put", "delete":
		if err := l.bucket.apply(e); err != nil {
			p.t.Fatal(err)
		}
	case "state", "seen": // what a recovery shows must be what may be there; after a loss of power it stays
		if err := l.history.check(e.Values); err != nil {
			p.t.Fatalf("recovered under the recorder: %v", err)
		}
		l.history.apply(e)
	default:
		l.history.apply(e)
	}
}

// recover opens the volume as the next boot finds it, and compares. Each time a new process does it.
func (p *prober) recover(tree *crashfs.Tree, l life) error {
	dir := p.scratch()
	if err := tree.Save(dir); err != nil {
		return err
	}
	text, err := json.Marshal(orders{Check: true, Mode: p.mode, Dir: filepath.Join(dir, "data"), Bucket: l.bucket, Boot: p.boot()})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(p.t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), ordersVariable+"="+string(text))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(errs.Bytes()))
	}
	e, err := decode(out.Bytes())
	if err != nil {
		return err
	}
	if err := l.history.check(e.Values); err != nil {
		return err
	}
	return os.RemoveAll(dir) // else it is there until the test ends
}

// scratch makes a directory that is removed when the test ends; in memory, if that is to be had.
func (p *prober) scratch() string {
	p.t.Helper()
	parent := ""
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		parent = "/dev/shm"
	}
	dir, err := os.MkdirTemp(parent, "sluice-power-")
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			p.t.Error(err)
		}
	})
	return dir
}

// recoverTwice recovers under the recorder, goes on for a while, and takes the power away during all of that.
func (p *prober) recoverTwice(tree *crashfs.Tree, l life) {
	p.t.Helper()
	rec := crashfs.New(tree)
	next := life{start: rec.Start(), bucket: bucket(p.scratch()), history: l.history.clone()}
	if err := l.bucket.copyTo(next.bucket); err != nil {
		p.t.Fatal(err)
	}
	next.log = p.write(rec, orders{Seed: p.rnd.Uint64(), Steps: 30, First: 1 << 40, Bucket: next.bucket})
	before := p.crashes
	p.probe(next, min(50, max(8, p.points/6)), p.draws, false)
	p.second += p.crashes - before
}
