package bench

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/object"
	"sluice/object/storeurl"
	"sluice/test/harness"
	"sluice/test/s3server"
)

// parallel is how many plain GETs or PUTs run at a time: as many as the uploader has.
const parallel = 8

// benchBulk compares reading a volume that is only in the bucket, and uploading what
// has piled up, with plain GETs and PUTs of objects of the same sizes.
func benchBulk(t *testing.T, s settings) string {
	server := s3server.Start(t)
	gw := harness.Start(t, harness.Options{
		Store: server.URL("bulk"), Env: server.Env(), Args: []string{"--upload-buffer", "4GiB", "--cache", "4GiB"},
	})
	server.Setenv(t)
	store, err := storeurl.Open(t.Context(), server.URL("bulk"))
	if err != nil {
		t.Fatal(err)
	}
	var cold, gets, uploads, puts series
	for range s.rounds {
		name := fmt.Sprintf("bulk%d", len(cold))
		gw.CreateVolume(name, "2GiB")
		area := fmt.Sprintf("%dm", s.bulk)
		before := keys(t, store)
		server.Freeze()
		harness.MustVerify(t, "--sequential", "--bs", "1m", "--depth", "8", "--size", area, "--count", fmt.Sprint(s.bulk), gw.URL(name))
		server.Thaw()
		uploads = append(uploads, drainRate(gw, name))
		gw.WaitUploaded(name)
		var added []object.Info
		for key, info := range keys(t, store) {
			if _, ok := before[key]; !ok {
				added = append(added, info)
			}
		}
		puts = append(puts, plainPuts(t, store, added))
		gw.LoseDisk(name)
		r := harness.MustVerify(t, "--read", "100", "--sequential", "--bs", "1m", "--depth", "8", "--size", area, "--count", fmt.Sprint(s.bulk), gw.URL(name))
		cold = append(cold, r.MiBs)
		gets = append(gets, plainGets(t, store, added))
		gw.CLI("volume", "delete", "--yes", name)
	}
	var out table
	out.head("Cold reads and uploads, MiB/s", "", "sluice", "plain, 8 in parallel", "ratio", "goal")
	out.row("cold sequential read, 1 MiB, QD8", cold.String(), gets.String(), ratio(cold.median(), gets.median()), "0.80")
	out.row("upload of a backlog", uploads.String(), puts.String(), ratio(uploads.median(), puts.median()), "0.80")
	return out.String()
}

// drainRate returns how fast a backlog goes down, in MiB/s, from when it begins to. It
// leaves out its last eighth: the uploader waits a while for a last segment to fill.
func drainRate(gw *harness.Gateway, name string) float64 {
	queued := func() int64 {
		for _, v := range gw.Status().Volumes {
			if v.Name == name {
				return v.QueuedBytes
			}
		}
		return 0
	}
	whole := queued()
	start, first, left := time.Now(), whole, whole
	for left > whole/8 {
		time.Sleep(20 * time.Millisecond)
		if left = queued(); first == whole {
			start, first = time.Now(), left
		}
	}
	return float64(first-left) / (1 << 20) / time.Since(start).Seconds()
}

func keys(t *testing.T, store object.Store) map[string]object.Info {
	t.Helper()
	all := map[string]object.Info{}
	for info, err := range store.List(t.Context(), "segments/", "") {
		if err != nil {
			t.Fatal(err)
		}
		all[info.Key] = info
	}
	return all
}

// plainGets reads whole objects and returns the rate in MiB/s.
func plainGets(t *testing.T, store object.Store, objects []object.Info) float64 {
	t.Helper()
	return eachRate(t, objects, func(ctx context.Context, info object.Info) (int64, error) {
		data, _, err := store.GetRange(ctx, info.Key, 0, -1)
		return int64(len(data)), err
	})
}

// plainPuts writes objects of the same sizes, of random bytes, and deletes them again.
func plainPuts(t *testing.T, store object.Store, objects []object.Info) float64 {
	t.Helper()
	var largest int64
	for _, info := range objects {
		largest = max(largest, info.Size)
	}
	body := make([]byte, largest)
	_, _ = rand.Read(body) // it never fails
	rate := eachRate(t, objects, func(ctx context.Context, info object.Info) (int64, error) {
		_, err := store.Put(ctx, "plain/"+info.Key, body[:info.Size])
		return info.Size, err
	})
	for _, info := range objects {
		if err := store.Delete(t.Context(), "plain/"+info.Key); err != nil {
			t.Fatal(err)
		}
	}
	return rate
}

func eachRate(t *testing.T, objects []object.Info, do func(context.Context, object.Info) (int64, error)) float64 {
	t.Helper()
	var bytes atomic.Int64
	start := time.Now()
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(parallel)
	for _, info := range objects {
		group.Go(func() error {
			n, err := do(ctx, info)
			bytes.Add(n)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	return float64(bytes.Load()) / (1 << 20) / time.Since(start).Seconds()
}

// benchCosts measures what a byte and an operation cost: local bytes written, PUTs,
// allocations, and memory when a small part of a large volume is written at random.
func benchCosts(t *testing.T, s settings) string {
	server := s3server.Start(t)
	gw := harness.Start(t, harness.Options{Store: server.URL("costs"), Env: server.Env()})
	gw.CreateVolume("wide", "1TiB")
	url := gw.URL("wide")
	const mib = 256 // 4 KiB writes
	written, puts, mallocs := procField(t, gw.PID(), "io", "write_bytes"), gw.Counter("puts"), gw.Counter("mallocs")
	r := harness.MustVerify(t, "--depth", "32", "--count", mebiOps(s.bulk), url)
	gw.WaitUploaded("wide")
	accepted := float64(r.Writes) * 4096
	local := float64(procField(t, gw.PID(), "io", "write_bytes")-written) / accepted
	perGiB := (gw.Counter("puts") - puts) / (accepted / (1 << 30))
	perWrite := (gw.Counter("mallocs") - mallocs) / float64(r.Ops)
	mallocs = gw.Counter("mallocs")
	reads := harness.MustVerify(t, "--read", "100", "--depth", "32", "--size", "64m", "--count", mebiOps(mib), url)
	perRead := (gw.Counter("mallocs") - mallocs) / float64(reads.Ops)

	harness.MustVerify(t, "--depth", "32", "--sparse", "--count", mebiOps(s.spread), url)
	gw.WaitUploaded("wide")
	var out table
	out.head("What it costs", "", "measured", "goal")
	out.row("local bytes written per byte accepted, 4 KiB random", number(local), "1.15")
	out.row("PUTs per GiB, 4 KiB random over 1 TiB", number(perGiB), "140")
	out.row("heap allocations per 4 KiB write, uploads included", number(perWrite), "2")
	out.row("heap allocations per 4 KiB read", number(perRead), "2")
	out.row(fmt.Sprintf("peak memory, MiB: 1 TiB volume, %s GiB of 4 KiB writes spread over it", number(float64(s.spread)/1024)),
		number(float64(procField(t, gw.PID(), "status", "VmHWM"))/1024), "600")
	return out.String()
}

func mebiOps(mib int) string { return fmt.Sprint(mib * 256) }
