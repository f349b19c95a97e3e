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
	"testing"
	"time"

	"sluice/test/crashfs"
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
	r := rand.New(rand.NewPCG(e.seed, 2))
	p := &prober{t: t, rnd: r, effort: e, boots: 1}
	first := life{history: newHistory(), bucket: bucket(p.scratch())}
	rec := crashfs.New(crashfs.NewTree())
	first.start = rec.Start()
	first.log = p.write(rec, orders{Seed: e.seed, Steps: 600, Create: true, Bucket: first.bucket})
	p.probe(first, e.points, e.draws, true)
	t.Logf("%d operations (%d syncs); %d losses of power, %d of them during or after a recovery", len(first.log), syncs(first.log), p.crashes, p.second)
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
	rnd             *rand.Rand
	boots           int
	crashes, second int
}

// write runs a writer and returns its log.
func (p *prober) write(rec *crashfs.Recorder, o orders) []crashfs.Op {
	p.t.Helper()
	mount := p.t.TempDir()
	o.Dir, o.Boot = filepath.Join(mount, "data"), p.boot()
	text, err := json.Marshal(o)
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(p.t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), ordersVariable+"="+string(text))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	begin, err := cmd.StdinPipe() // it waits for this to be closed: nothing forks while the file system is mounted
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		p.t.Fatal(err)
	}
	unmount, err := rec.Mount(mount)
	if err != nil {
		cancel()
		p.t.Fatal(errors.Join(err, cmd.Wait()))
	}
	err = errors.Join(begin.Close(), cmd.Wait(), unmount())
	if err != nil {
		p.t.Fatalf("the writer: %v\n%s", err, bytes.TrimSpace(out.Bytes()))
	}
	return rec.Log()
}

func (p *prober) boot() string {
	p.boots++
	return fmt.Sprintf("boot-%d", p.boots)
}

// moments chooses the points of a log that lose their power: the number of operations that came before. Half of them are
// next to a sync.
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
	case "state": // what a recovery shows must be what may be there, and stays
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
	text, err := json.Marshal(orders{Check: true, Dir: filepath.Join(dir, "data"), Bucket: l.bucket, Boot: p.boot()})
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
