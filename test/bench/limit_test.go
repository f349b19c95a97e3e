package bench

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"sluice/test/harness"
)

// The limit of the machine: what a server reaches that answers each request of 48 bytes
// with 48 bytes and 4 KiB, the traffic of a 4 KiB read, and does nothing else.
const (
	limitRequest = 48
	limitAnswer  = 48 + 4096
)

// The ways in which a server can answer.
const (
	// limitBatched takes all requests that have come in one read, and answers them in one write.
	limitBatched = "batched"
	// limitGathered has a goroutine for each request, whose answers one writer gathers
	// into one vectored write.
	limitGathered = "gathered"
)

// limitEnv makes TestLimitServer a server. It is a program of its own, as a target is.
const limitEnv = "SLUICE_BENCH_LIMIT"

// TestLimitServer is the echo server, in a process that startLimit starts.
func TestLimitServer(t *testing.T) {
	way := os.Getenv(limitEnv)
	if way == "" {
		t.Skip("the server of a benchmark: make bench-target runs it")
	}
	listener, err := net.Listen("tcp", os.Getenv(limitEnv+"_ADDRESS"))
	if err != nil {
		t.Fatal(err)
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			defer conn.Close()
			serve := serveBatched
			if way == limitGathered {
				serve = serveGathered
			}
			if err := serve(conn); !errors.Is(err, io.EOF) {
				t.Error(err)
			}
		}()
	}
}

func serveBatched(conn net.Conn) error {
	in := make([]byte, 64<<10)
	answer := make([]byte, limitAnswer)
	for have := 0; ; {
		n, err := conn.Read(in[have:])
		if err != nil {
			return err
		}
		have += n
		answers := make(net.Buffers, have/limitRequest)
		for i := range answers {
			answers[i] = answer
		}
		have = copy(in, in[len(answers)*limitRequest:have])
		if len(answers) > 0 {
			if _, err := answers.WriteTo(conn); err != nil {
				return err
			}
		}
	}
}

func serveGathered(conn net.Conn) error {
	in := bufio.NewReaderSize(conn, 64<<10)
	done := make(chan []byte, 128)
	var requests sync.WaitGroup
	defer func() { requests.Wait(); close(done) }()
	go func() {
		for answer := range done {
			answers := net.Buffers{answer}
			for more := true; more && len(answers) < cap(done); {
				select {
				case answer, more = <-done:
					if more {
						answers = append(answers, answer)
					}
				default:
					more = false
				}
			}
			_, _ = answers.WriteTo(conn) // the reader sees that the connection is gone
		}
	}()
	answer := make([]byte, limitAnswer)
	for {
		var request [limitRequest]byte
		if _, err := io.ReadFull(in, request[:]); err != nil {
			return err
		}
		requests.Go(func() { done <- answer })
	}
}

// startLimit starts an echo server.
func startLimit(t *testing.T, way string) *contender {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	address := harness.FreeAddress(t)
	cmd := exec.Command(program, "-test.run=^TestLimitServer$", "-test.timeout=0")
	cmd.Env = append(os.Environ(), limitEnv+"="+way, limitEnv+"_ADDRESS="+address)
	daemon := harness.StartProcess(t, cmd, filepath.Join(t.TempDir(), "log"))
	waitFor(t, daemon, func() bool { return answers(address) })
	return &contender{name: way, url: address, pids: func() []int { return []int{daemon.PID()} }, quiet: func() {}}
}

// askLimit keeps depth requests in flight for a time and returns what came of it.
func askLimit(t *testing.T, c *contender, depth int, d time.Duration) sample {
	t.Helper()
	conn, err := net.Dial("tcp", c.url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cpu := cpuTime(t, c.pids())
	requests, in := make([]byte, depth*limitRequest), make([]byte, 256<<10)
	start, sent := time.Now(), make([]time.Time, depth) // a ring, in the order of the requests
	var took latencies
	var asked, answered, partly int
	for toAsk := depth; ; {
		now := time.Now()
		for range toAsk {
			sent[asked%depth] = now
			asked++
		}
		if toAsk > 0 {
			if _, err := conn.Write(requests[:toAsk*limitRequest]); err != nil {
				t.Fatalf("asking the echo server: %v", err)
			}
		}
		n, err := conn.Read(in)
		if err != nil {
			t.Fatalf("the echo server: %v", err)
		}
		partly += n
		toAsk = partly / limitAnswer
		partly %= limitAnswer
		now = time.Now()
		for range toAsk {
			took.add(now.Sub(sent[answered%depth]))
			answered++
		}
		if now.Sub(start) >= d {
			break
		}
	}
	spent := cpuTime(t, c.pids()) - cpu
	return sample{
		rate: float64(answered) / time.Since(start).Seconds(),
		p50:  took.quantile(0.5), p99: took.quantile(0.99), p999: took.quantile(0.999),
		cpu: float64(spent.Microseconds()) / float64(answered), mallocs: missing,
	}
}

// latencies counts durations by the half microsecond; those of 50 ms and above are one.
type latencies struct {
	count   int
	buckets [100_000]int
}

func (l *latencies) add(d time.Duration) {
	l.count++
	l.buckets[min(int(d/(500*time.Nanosecond)), len(l.buckets)-1)]++
}

// quantile returns, in microseconds, what a share of the durations did not exceed.
func (l *latencies) quantile(share float64) float64 {
	left := share * float64(l.count)
	for i, n := range l.buckets {
		if left -= float64(n); left <= 0 {
			return float64(i) / 2
		}
	}
	return float64(len(l.buckets)) / 2
}
