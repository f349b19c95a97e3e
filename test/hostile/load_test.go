package hostile

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// unleash lets the attackers act, n times altogether or until stop is closed, and returns
// what they keep open.
func (s *scene) unleash(t testing.TB, a assault, n int, did *atomic.Int64) (held []net.Conn) {
	t.Helper()
	var (
		wait   sync.WaitGroup
		next   atomic.Int64
		mu     sync.Mutex
		failed error
	)
	for w := range a.crowd {
		wait.Go(func() {
			who := &attacker{scene: s, t: t, n: w, did: did}
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					break
				}
				if err := a.worker(who, i); err != nil {
					mu.Lock()
					failed = errors.Join(failed, fmt.Errorf("act %d: %w", i, err))
					mu.Unlock()
					break
				}
				did.Add(1)
			}
			if who.peer != nil {
				_ = who.peer.conn.Close()
			}
			mu.Lock()
			held = append(held, who.held...)
			mu.Unlock()
		})
	}
	wait.Wait()
	if failed != nil {
		t.Error(failed)
	}
	return held
}

// latencies are what an initiator waits for its commands.
type latencies struct {
	all      []time.Duration
	p50, p99 time.Duration
}

// observe lets an initiator read 4 KiB at a time, one after the other, until stop.
func observe(p *peer, stop <-chan struct{}, atLeast int) (l latencies) {
	want := p.read(0, 8)
	for {
		select {
		case <-stop:
			if len(l.all) >= atLeast {
				slices.Sort(l.all)
				l.p50, l.p99 = l.all[len(l.all)/2], l.all[len(l.all)*99/100]
				return l
			}
		default:
		}
		p.renewDeadline()
		begin := time.Now()
		got := p.read(0, 8)
		l.all = append(l.all, time.Since(begin))
		if !bytes.Equal(got, want) {
			p.t.Error("a bystander reads something else under attack")
			return l
		}
	}
}

// long tells whether this is "make hostile".
func long() bool { return os.Getenv("SLUICE_HOSTILE") == "long" }

// TestLoad attacks by numbers. The daemon's memory is bounded, a bystander is answered
// all the time, and when all is over, descriptors and sessions are gone.
func TestLoad(t *testing.T) {
	s := newScene(t)
	idle := resourcesOf(t, s.gw.PID())
	alone := s.calm(t)
	table := &table{idle: idle, alone: alone}
	for _, a := range assaults() {
		t.Run(a.name, func(t *testing.T) {
			n := a.short
			if long() {
				n = a.long
			}
			table.add(s.withstand(t, a, n, idle))
		})
	}
	if long() && !t.Failed() {
		table.write(t)
	}
	t.Logf("\n%s", table)
}

// calm measures an initiator alone.
func (s *scene) calm(t testing.TB) latencies {
	reads := 2000
	if long() {
		reads = 20000
	}
	o := s.cast(t, "observe", "", reads)
	o.begin()
	o.stop()
	r := o.report()
	o.end()
	return latencies{p50: r.P50, p99: r.P99}
}

// memoryBound is how much the daemon may hold under any of these attacks, in bytes: 40
// sessions that fill their SessionMemory of 64 MiB in part, buffers, and the garbage
// collector's slack on top.
const memoryBound = 1 << 30

// result is what an assault did.
type result struct {
	name          string
	acts          int64
	took          time.Duration
	before, under latencies
	peak          resources // the most that was seen of each
}

func (s *scene) withstand(t *testing.T, a assault, n int, idle resources) result {
	r := result{name: a.name, before: s.calm(t)}
	stop, sampled := make(chan struct{}), make(chan resources)
	go func() { sampled <- s.sample(t, stop) }()
	observer := s.cast(t, "observe", "", 1000)
	attack := s.cast(t, "attack", a.name, n)
	observer.begin()
	attack.begin()
	did := s.whileWatching(t, attack)
	observer.stop()
	saw := observer.report()
	observer.end()
	attack.end()
	close(stop)
	r.took, r.acts, r.under, r.peak = did.Took, did.Acts, latencies{p50: saw.P50, p99: saw.P99}, <-sampled
	if r.peak.rss > memoryBound {
		t.Errorf("the daemon held %d MiB", r.peak.rss>>20)
	}
	s.recovered(t, idle)
	s.check(t, extent{})
	return r
}

// whileWatching waits for the end of an attack, while the bystander is answered.
func (s *scene) whileWatching(t *testing.T, attack *actor) report {
	t.Helper()
	done := make(chan report)
	go func() { done <- attack.report() }()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	s.bystander.t = t
	for {
		select {
		case r := <-done:
			return r
		case <-tick.C:
			s.bystander.renewDeadline()
			alive(s.bystander)
		}
	}
}

// sample returns the most of each resource that was seen until stop.
func (s *scene) sample(t testing.TB, stop <-chan struct{}) (most resources) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		now := resourcesOf(t, s.gw.PID())
		most.rss, most.threads = max(most.rss, now.rss), max(most.threads, now.threads)
		most.descriptors = max(most.descriptors, now.descriptors)
		select {
		case <-stop:
			return most
		case <-tick.C:
		}
	}
}

// recovered waits until the daemon has as many descriptors as it had, but for a few of
// its own files.
func (s *scene) recovered(t *testing.T, idle resources) {
	t.Helper()
	var now resources
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if now = resourcesOf(t, s.gw.PID()); now.descriptors <= idle.descriptors+8 {
			return
		}
	}
	t.Errorf("%d descriptors are open, where there were %d", now.descriptors, idle.descriptors)
}
