// Package s3server runs a real S3 server for tests: versitygw, in a process of its
// own and behind a port of its own, over a directory that goes away with the test.
//
//	srv := s3server.Start(t) // skips the test where the server cannot be built
//	srv.Setenv(t)            // the AWS SDK of this process now has its credentials
//	store, err := s3.Open(ctx, s3.Options{Bucket: srv.Bucket, Endpoint: srv.Endpoint, PathStyle: true})
//
// A server in the same process could not be killed: here Kill is SIGKILL and Freeze is
// SIGSTOP, so a test sees what a client sees of a machine that died or hangs. Restart
// brings the server back on the same port with the same data.
//
// The program is a Go tool of the module in tools/, so that its many dependencies stay
// out of ours. The first build takes some minutes, later ones come from Go's build cache.
// With SLUICE_REQUIRE_S3=1 a server that cannot be had is a failure instead of a skip.
package s3server
