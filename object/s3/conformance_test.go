package s3_test

import (
	"strconv"
	"sync/atomic"
	"testing"

	"sluice/object"
	"sluice/object/s3"
	"sluice/object/storetest"
	"sluice/test/s3server"
)

func TestConformance(t *testing.T) {
	srv := s3server.Start(t)
	srv.Setenv(t)
	for name, change := range map[string]func(*s3.Options){
		"checksums":   func(*s3.Options) {},
		"nochecksums": func(o *s3.Options) { o.NoChecksums = true },
	} {
		t.Run(name, func(t *testing.T) {
			var stores atomic.Int64
			storetest.Run(t, func(t testing.TB) object.Store {
				return open(t, srv, name+"/store-"+strconv.FormatInt(stores.Add(1), 10), change)
			})
		})
	}
}

func open(t testing.TB, srv *s3server.Server, prefix string, change func(*s3.Options)) *s3.Store {
	t.Helper()
	o := s3.Options{Bucket: srv.Bucket, Prefix: prefix, Endpoint: srv.Endpoint, Region: srv.Region, PathStyle: true}
	change(&o)
	s, err := s3.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
