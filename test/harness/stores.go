package harness

import (
	"testing"

	"sluice/test/s3server"
)

// EachStore runs a test once on the embedded store and once on a real S3 server, which
// is nil for the former. Options has the store filled in.
func EachStore(t *testing.T, test func(t *testing.T, o Options, server *s3server.Server)) {
	t.Helper()
	t.Run("dir", func(t *testing.T) {
		test(t, Options{Store: "file://" + TempDir(t)}, nil)
	})
	t.Run("s3", func(t *testing.T) {
		server := s3server.Start(t)
		test(t, Options{Store: server.URL("gateway"), Env: server.Env()}, server)
	})
}
