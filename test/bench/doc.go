// Package bench measures sluice beside what one would otherwise use, in one run and in
// alternation, so that the noise of the machine falls on all of them alike:
//
//   - on local data: Debian's tgt and istgt, each exporting a file on the same disk;
//   - on an S3 server: s3backer, exported by tgt;
//   - for cold reads and uploads: plain parallel GETs and PUTs of the same objects.
//
// make bench runs it and writes the tables to docs/PERFORMANCE.md; make bench QUICK=1
// takes two minutes and only prints them. Nothing here is a test: numbers are reported,
// not asserted.
package bench
