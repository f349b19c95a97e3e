package s3_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"sluice/object"
	"sluice/object/s3"
	"sluice/test/s3server"
)

// The benchmarks move objects of 8 MiB, eight at a time, through the store and, for
// comparison, through a plain HTTP client that does nothing else.
const (
	benchSize     = 8 << 20
	benchParallel = 4 // for each of GOMAXPROCS
	benchKeys     = 16
)

func BenchmarkPut(b *testing.B) {
	srv := s3server.Start(b)
	srv.Setenv(b)
	body := make([]byte, benchSize)
	_, _ = rand.Read(body) // never fails
	for name, s := range map[string]object.Store{
		"store":       open(b, srv, "bench", func(*s3.Options) {}),
		"nochecksums": open(b, srv, "bench", func(o *s3.Options) { o.NoChecksums = true }),
	} {
		b.Run(name, func(b *testing.B) {
			run(b, benchSize, func(key string) error {
				_, err := s.Put(b.Context(), key, body)
				return err
			})
		})
	}
	b.Run("plain", func(b *testing.B) {
		client := plainClient(b)
		run(b, benchSize, func(key string) error {
			return plain(b, client, srv, http.MethodPut, key, body, nil)
		})
	})
}

func BenchmarkGet(b *testing.B) {
	srv := s3server.Start(b)
	srv.Setenv(b)
	s := open(b, srv, "bench", func(*s3.Options) {})
	body := make([]byte, benchSize)
	for i := range benchKeys {
		if _, err := s.Put(b.Context(), benchKey(int64(i)), body); err != nil {
			b.Fatal(err)
		}
	}
	for _, size := range []int64{benchSize, 64 << 10, 4 << 10} {
		b.Run(fmt.Sprintf("store/%dk", size>>10), func(b *testing.B) {
			run(b, size, func(key string) error {
				_, _, err := s.GetRange(b.Context(), key, 0, size)
				return err
			})
		})
	}
	b.Run("plain/8192k", func(b *testing.B) {
		client := plainClient(b)
		run(b, benchSize, func(key string) error {
			return plain(b, client, srv, http.MethodGet, key, nil, make([]byte, benchSize))
		})
	})
}

func benchKey(i int64) string { return fmt.Sprintf("object-%02d", i%benchKeys) }

func run(b *testing.B, size int64, request func(key string) error) {
	b.SetBytes(size)
	b.ReportAllocs()
	b.SetParallelism(benchParallel)
	var n atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := request(benchKey(n.Add(1))); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func plainClient(b *testing.B) *http.Client {
	tr := &http.Transport{MaxIdleConnsPerHost: 64, WriteBufferSize: 256 << 10, DisableCompression: true}
	b.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// plain makes one signed request; it reads the answer into a buffer of its size.
func plain(b *testing.B, client *http.Client, srv *s3server.Server, method, key string, body, into []byte) error {
	url := srv.Endpoint + "/" + srv.Bucket + "/bench/" + key
	req, err := http.NewRequestWithContext(b.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	const unsigned = "UNSIGNED-PAYLOAD"
	req.Header.Set("X-Amz-Content-Sha256", unsigned)
	credentials := aws.Credentials{AccessKeyID: srv.AccessKey, SecretAccessKey: srv.SecretKey}
	if err := v4.NewSigner().SignHTTP(b.Context(), credentials, req, unsigned, "s3", srv.Region, time.Now()); err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", resp.Status)
	}
	_, err = io.ReadFull(resp.Body, into)
	return err
}
