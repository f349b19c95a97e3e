// Package conformance runs every test of libiscsi's iscsi-test-cu, one process for each
// test and a time limit on each, against real daemons: sluice, and beside it tgt and the
// stock engine of gotgt. The destructive tests (--dataloss, --allow-sanitize) too.
//
//	make test                  sluice: one session; two sessions with CHAP and header digests
//	make conformance           sluice: all eight ways to connect; writes docs/CONFORMANCE.md
//	make conformance PEERS=1   tgt and gotgt too
//
// A way to connect ([way]) is the number of sessions, CHAP or not, header digests or not.
// With two sessions the suite is given the same volume twice: its multipath tests run, and
// all others run with the second session open. Each way has a daemon of its own.
//
// A test ends in one of four classes:
//
//	passed   all of its checks held, and it made at least one
//	failed   a check did not hold, or no session could be made
//	skipped  it decided to check nothing, with its reason
//	hung     it did not end in time, or the daemon went away under it
//
// What sluice is not expected to pass is in testdata/expected.txt, a line for each test with
// the reason. The run fails on anything that is not listed and on whatever is listed
// and no longer so; the list can therefore only be true. Peers are not judged.
//
// sluice keeps one daemon for all tests of a way, so a test that leaves a mess behind, or
// damages the daemon, shows in those that follow. A peer is started afresh after each
// test that it did not pass, so that none of its marks is a consequence of another.
//
// The outcomes are kept in testdata/results.json, from which docs/CONFORMANCE.md has its
// tables; a test holds the two together.
package conformance
