package stored

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/time/rate"

	"sluice/volume"
	"sluice/volume/blockmap"
)

// presence knows which chunks of a volume that began as a root are here, and fetches the others.
type presence struct {
	v     *Volume
	saved *bitFile // here, and synced before the bit was written
	from  atomic.Pointer[moment]

	locks [64]sync.Mutex // one is held while a chunk is fetched

	here atomic.Pointer[[]atomic.Uint64] // a bit for each chunk that is here; it is replaced by a longer one when the volume grows

	syncing sync.Mutex // held during a sync: none may return before another one has noted what it took from fresh

	mu    sync.Mutex // held while bits are added; protects what follows
	fresh []int64    // chunks that are here and not saved
}

// openPresence reads what is known to be here. Where dirty bits are exact, marked chunks are here, too; else a mark on
// a chunk that is not here means nothing.
func openPresence(v *Volume, exact, first bool) (*presence, error) {
	saved, err := v.bits("present", v.chunks(), first)
	if err != nil {
		return nil, err
	}
	p := newPresence(v, saved)
	if !exact {
		return p, v.dirty.keep(func(i int64, _ uint64) uint64 { return saved.words[i].Load() })
	}
	for chunk := range v.dirty.all() {
		if !p.has(chunk) {
			p.add(chunk)
		}
	}
	return p, nil
}

func newPresence(v *Volume, saved *bitFile) *presence {
	p, here := &presence{v: v, saved: saved}, make([]atomic.Uint64, len(saved.words))
	for i := range here {
		here[i].Store(saved.words[i].Load())
	}
	p.here.Store(&here)
	return p
}

func (p *presence) has(chunk int64) bool { return (*p.here.Load())[chunk/64].Load()>>(chunk%64)&1 == 1 }

func (p *presence) add(chunk int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	(*p.here.Load())[chunk/64].Or(1 << (chunk % 64))
	p.fresh = append(p.fresh, chunk)
}

func (p *presence) missing() (n int64) {
	for chunk := range p.v.chunks() {
		if !p.has(chunk) {
			n++
		}
	}
	return n
}

// grow makes room for more chunks; what is added is here: it is zeros. Nobody else may use it meanwhile.
func (p *presence) grow(old, chunks int64) error {
	if err := p.saved.grow(chunks); err != nil {
		return err
	}
	if err := p.saved.add(old, chunks-1); err != nil && chunks > old {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	short, here := *p.here.Load(), make([]atomic.Uint64, len(p.saved.words))
	for i := range here {
		here[i].Store(p.saved.words[i].Load())
		if i < len(short) {
			here[i].Or(short[i].Load())
		}
	}
	p.here.Store(&here)
	return nil
}

// sync syncs the data, and then notes which chunks were here before.
func (p *presence) sync() error {
	p.syncing.Lock()
	defer p.syncing.Unlock()
	p.mu.Lock()
	fresh := p.fresh
	p.fresh = nil
	p.mu.Unlock()
	err := datasync(p.v.data.File)
	for _, chunk := range fresh {
		if err == nil {
			err = p.saved.add(chunk, chunk)
		}
	}
	if err == nil && len(fresh) > 0 {
		err = p.saved.sync()
	}
	if err != nil {
		return fmt.Errorf("syncing the data of the volume: %w", err)
	}
	return nil
}

func (p *presence) close() error { return p.saved.close() }

// arrive returns when all chunks of a range are here.
func (v *Volume) arrive(ctx context.Context, off, n int64, wait bool) error {
	if n == 0 || v.filled.Load() {
		return nil
	}
	for chunk := off / ChunkSize; chunk <= (off+n-1)/ChunkSize; chunk++ {
		if v.present.has(chunk) {
			continue
		}
		if !wait {
			return syscall.EAGAIN
		}
		if err := v.present.fetch(ctx, chunk); err != nil {
			return err
		}
	}
	return nil
}

// fetch brings a chunk here.
func (p *presence) fetch(ctx context.Context, chunk int64) error {
	lock := &p.locks[chunk%int64(len(p.locks))]
	lock.Lock()
	defer lock.Unlock()
	if p.has(chunk) {
		return nil
	}
	buf := make([]byte, min(ChunkSize, p.v.size.Load()-chunk*ChunkSize))
	if err := p.read(ctx, buf, chunk*ChunkSize); err != nil {
		return fmt.Errorf("fetching what is not here yet: %w", err)
	}
	if !isZero(buf) { // else the file has a hole there
		if _, err := p.v.data.WriteAt(buf, chunk*ChunkSize); err != nil {
			return fmt.Errorf("keeping what was fetched: %w", err)
		}
	}
	p.add(chunk)
	return nil
}

// moment is what a root has.
type moment struct {
	*volume.View
	root blockmap.Root
}

// read reads from the newest root. One that is not the newest any more may be garbage: then the next one is tried.
func (p *presence) read(ctx context.Context, buf []byte, off int64) error {
	m, err := p.newest(ctx)
	for err == nil {
		if err = m.Read(ctx, buf, off); err == nil || ctx.Err() != nil {
			break
		}
		tried, failed := m, err
		if m, err = p.newest(ctx); err == nil && m.root == tried.root {
			return failed
		}
	}
	return err
}

// newest returns the newest root.
func (p *presence) newest(ctx context.Context) (*moment, error) {
	v := p.v
	claim, err := v.claimNow(ctx)
	if err != nil {
		return nil, err
	}
	root := claim.Head().Root
	if root == nil {
		return nil, errors.New("the volume has no root to begin with")
	}
	if m := p.from.Load(); m != nil && m.root == *root {
		return m, nil
	}
	view, err := volume.OpenView(ctx, *root, v.size.Load(), volume.Options{Store: v.opts.Store, Cache: v.opts.Cache, Logger: v.log})
	if err != nil {
		return nil, err
	}
	m := &moment{view, *root}
	p.from.Store(m)
	return m, nil
}

// fillers is how many chunks are fetched at once in the background.
const fillers = 8

// fill fetches all that is missing, until ctx ends.
func (v *Volume) fill(ctx context.Context) {
	v.stateMu.Lock()
	limit := rate.Inf
	if r := v.state.Rate; r > 0 {
		limit = rate.Limit(r)
	}
	v.stateMu.Unlock()
	limiter := rate.NewLimiter(limit, max(ChunkSize, int(v.state.Rate/10)))
	for pause := time.Second; ; pause = min(2*pause, time.Minute) {
		err := v.fillOnce(ctx, limiter)
		if err == nil || ctx.Err() != nil {
			return
		}
		v.log.Warn("fetching the volume in the background is delayed; it will be tried again", "error", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

func (v *Volume) fillOnce(ctx context.Context, limiter *rate.Limiter) error {
	jobs := make(chan int64)
	errs := make(chan error, fillers)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var workers sync.WaitGroup
	for range fillers {
		workers.Go(func() {
			for chunk := range jobs {
				if err := v.present.fetch(ctx, chunk); err != nil {
					errs <- err
					cancel()
					return
				}
			}
		})
	}
	err := v.eachMissing(ctx, limiter, jobs)
	close(jobs)
	workers.Wait()
	select {
	case e := <-errs:
		return e
	default:
	}
	if err != nil {
		return err
	}
	return v.finishFill()
}

func (v *Volume) eachMissing(ctx context.Context, limiter *rate.Limiter, jobs chan<- int64) error {
	for chunk := int64(0); chunk < v.chunks(); chunk++ {
		v.gate.RLock() // the sets may be replaced by larger ones
		missing := !v.present.has(chunk)
		v.gate.RUnlock()
		if !missing {
			continue
		}
		if err := limiter.WaitN(ctx, ChunkSize); err != nil {
			return err
		}
		select {
		case jobs <- chunk:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// finishFill notes that all is here.
func (v *Volume) finishFill() error {
	if err := v.present.sync(); err != nil {
		v.fail(err)
		return err
	}
	v.stateMu.Lock()
	defer v.stateMu.Unlock()
	v.state.Complete = true
	if err := v.state.save(v.dir); err != nil {
		return err
	}
	v.filled.Store(true)
	v.log.Info("all of the volume is on this gateway")
	if err := os.Remove(filepath.Join(v.dir, "present")); err != nil {
		v.log.Warn("removing a file that is not needed any more", "error", err)
	}
	return nil
}
