package hostilestore

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/test/harness"
	"sluice/test/initiator"
	"sluice/test/s3server"
)

// hostility is one way of a store to misbehave.
type hostility struct {
	name  string
	fault Fault
	// silent is one that no status can tell from a slow store, or that is mended by one more try.
	silent bool
	lasts  time.Duration // 0: 2 s
}

func hostilities() []hostility {
	return []hostility{
		{name: "50 ms late", fault: Late(50 * time.Millisecond), silent: true},
		{name: "5 s late", fault: Late(5 * time.Second), silent: true, lasts: 6 * time.Second},
		{name: "503", fault: Refuse(http.StatusServiceUnavailable, "SlowDown")},
		{name: "429", fault: Refuse(http.StatusTooManyRequests, "TooManyRequests")},
		{name: "500", fault: Refuse(http.StatusInternalServerError, "InternalError")},
		{name: "403", fault: Refuse(http.StatusForbidden, "AccessDenied")},
		{name: "404, no bucket", fault: Refuse(http.StatusNotFound, "NoSuchBucket")},
		{name: "404, no word", fault: Refuse(http.StatusNotFound, "")},
		{name: "409", fault: Refuse(http.StatusConflict, "OperationAborted")},
		{name: "reset", fault: Cut},
		{name: "gone", fault: Cut, lasts: 12 * time.Second},
		{name: "one in three is reset", fault: Sometimes(3, Cut), silent: true},
		{name: "one in three is done, the answer lost", fault: Sometimes(3, AnswerLost), silent: true},
		{name: "all is done, all answers lost", fault: AnswerLost},
		{name: "one answer in three is truncated", fault: Sometimes(3, Answers(Truncated)), silent: true},
		{name: "one answer in three is short", fault: Sometimes(3, Answers(Short)), silent: true},
		{name: "each tenth answer is damaged", fault: Each(10, Answers(Flipped)), silent: true},
		{name: "one request in three is damaged", fault: Sometimes(3, DamagedRequest), silent: true},
		{name: "listing lags", fault: Lagging(), silent: true},
		{name: "an hour behind", fault: Skewed(-time.Hour)},
		{name: "an hour ahead", fault: Skewed(time.Hour)},
	}
}

// atOnce is how many hostilities run side by side: they mostly wait.
const atOnce = 8

// TestHostileBucket is described in the package's documentation.
func TestHostileBucket(t *testing.T) {
	server := s3server.Start(t)
	turn := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for i, h := range hostilities() {
		wg.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			t.Run(h.name, func(t *testing.T) { h.test(t, server, string(rune('a'+i))) })
		})
	}
	wg.Wait()
}

func (h hostility) test(t *testing.T, server *s3server.Server, prefix string) {
	proxy := NewProxy(t, server)
	gw := harness.Start(t, harness.Options{Store: proxy.URL(prefix), Env: server.Env(), Args: []string{"--cache", "64MiB", "--upload-buffer", "256MiB"}})
	gw.CreateVolume(volumeName, "1GiB")
	var c content
	s, err := initiator.Dial(t.Context(), gw.Portal, gw.IQN(volumeName), 9)
	if err != nil {
		t.Fatal(err)
	}
	for i := range pieces {
		c.last++
		if err := c.write(s, i, c.last); err != nil {
			t.Fatal(err)
		}
	}
	_ = s.Close()
	gw.CLI("snapshot", "create", volumeName)
	gw.LoseDisk(volumeName) // so that there is something to fetch
	if s, err = initiator.Dial(t.Context(), gw.Portal, gw.IQN(volumeName), 9); err != nil {
		t.Fatal(err)
	}
	if err := c.write(s, 0, 1); err != nil { // the block map is at hand now
		t.Fatal(err)
	}
	_ = s.Close()

	proxy.Set(h.fault)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	type outcome struct {
		commands [2]int
		err      error
	}
	ended := make(chan outcome, 1)
	go func() {
		commands, err := c.use(ctx, gw.Portal, gw.IQN(volumeName))
		ended <- outcome{commands, err}
	}()
	if h.lasts == 0 {
		h.lasts = 2 * time.Second
	}
	time.Sleep(h.lasts)
	if !h.silent {
		waitTrouble(t, gw, true)
	}
	hits := proxy.Hits()
	proxy.Set(nil)
	time.Sleep(time.Second / 2) // there is a life afterwards
	cancel()
	o := <-ended
	if o.err != nil {
		t.Fatal(o.err)
	}
	t.Logf("%d requests in hostility; commands of writer and reader: %d", hits, o.commands)
	if hits == 0 || o.commands[0] == 0 || o.commands[1] == 0 {
		t.Error("there was nothing to be hostile to")
	}
	gw.CLI("snapshot", "create", volumeName)
	waitTrouble(t, gw, false)
	c.check(t, gw.Portal, gw.IQN(volumeName))
	gw.LoseDisk(volumeName)
	c.check(t, gw.Portal, gw.IQN(volumeName))
}

// trouble is what the status says of a volume.
type trouble struct {
	Name  string `json:"name"`
	State string `json:"state"`
	Error string `json:"error"`
	Cause string `json:"upload_error"`
	Waits []struct {
		Work  string     `json:"work"`
		Error string     `json:"error"`
		Since time.Time  `json:"since"`
		Next  *time.Time `json:"next_attempt"`
	} `json:"waiting"`
}

func troubleOf(t *testing.T, gw *harness.Gateway) trouble {
	t.Helper()
	var s struct {
		Volumes []trouble `json:"volumes"`
	}
	if err := json.Unmarshal(gw.CLI("status", "--json"), &s); err != nil {
		t.Fatal(err)
	}
	for _, v := range s.Volumes {
		if v.Name == volumeName {
			return v
		}
	}
	t.Fatalf("the status does not have the volume: %+v", s)
	return trouble{}
}

// waitTrouble waits until the status says what the trouble is, or that there is none.
func waitTrouble(t *testing.T, gw *harness.Gateway, want bool) {
	t.Helper()
	var v trouble
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		v = troubleOf(t, gw)
		if !want && v.Cause == "" && len(v.Waits) == 0 && v.State == "attached" {
			return
		}
		for _, w := range v.Waits {
			if want && w.Work == "upload" && w.Error != "" && w.Error == v.Cause && !w.Since.IsZero() && w.Next != nil {
				t.Logf("status: since %s, next try in %s: %s", time.Since(w.Since), time.Until(*w.Next), w.Error)
				return
			}
		}
	}
	t.Fatalf("the status is to show trouble (%v), and says %+v", want, v)
}

// TestFullBuffer: when the store is gone and the upload buffer full, a write waits, and does not fail; reads go on; when the store is back, so
// do writes. Aborts of waiting writes are in test/sessions. SLUICE_FULL_BUFFER says for how long it is full.
func TestFullBuffer(t *testing.T) {
	t.Parallel()
	server := s3server.Start(t)
	proxy := NewProxy(t, server)
	gw := harness.Start(t, harness.Options{Store: proxy.URL("buffer"), Env: server.Env(), Args: []string{"--cache", "64MiB", "--upload-buffer", "64MiB"}})
	gw.CreateVolume(volumeName, "1GiB")
	writer, reader := dial(t, gw, 1), dial(t, gw, 2)
	proxy.Set(Cut)
	var c content
	var wrote atomic.Int64
	done := make(chan error, 1)
	const writes = 6000 // 94 MiB
	go func() {
		for n := range writes {
			c.last++
			if err := c.write(writer, n%pieces, c.last); err != nil {
				done <- err
				return
			}
			wrote.Store(int64(n + 1))
		}
		done <- nil
	}()
	var before int64
	for deadline := time.Now().Add(time.Minute); ; {
		before = wrote.Load()
		time.Sleep(3 * time.Second)
		if used := gw.Counter("upload_buffer.used_bytes"); wrote.Load() == before && used > 60<<20 {
			t.Logf("%d writes, %.0f bytes in the buffer: the next one waits", before, used)
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no write waits, %d were carried out", before)
		}
	}
	waitTrouble(t, gw, true)
	var long time.Duration
	if text := os.Getenv("SLUICE_FULL_BUFFER"); text != "" {
		var err error
		if long, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	for began := time.Now(); ; time.Sleep(time.Second) {
		if err := reader.Read(make([]byte, piece), 0); err != nil {
			t.Fatalf("a read of local data, after %s: %v", time.Since(began), err)
		}
		select {
		case err := <-done:
			t.Fatalf("the write did not wait: %v", err)
		default:
		}
		if time.Since(began) >= long {
			break
		}
	}
	proxy.Set(nil)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	waitTrouble(t, gw, false)
	c.check(t, gw.Portal, gw.IQN(volumeName))
}
