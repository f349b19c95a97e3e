// Package bench measures sluice beside what one would otherwise use, in one run and in
// alternation, so that the noise of the machine falls on all of them alike:
//
//   - on local data: Debian's tgt and istgt, each exporting a file on the same disk;
//   - on an S3 server: s3backer, exported by tgt;
//   - for cold reads and uploads: plain parallel GETs and PUTs of the same objects.
//
// make bench-target measures the iSCSI target alone, all disks in memory, beside tgt,
// istgt and gotgt's own daemon, and beside the limit of the machine: an echo server with
// the traffic of 4 KiB reads. It judges the goals by ratios of the same round.
//
// make bench runs the former and writes the tables to docs/PERFORMANCE.md; make bench QUICK=1
// takes two minutes and only prints them; likewise make bench-target. Numbers are reported,
// not asserted; only the arithmetic is tested (arithmetic_test.go).
package bench
