// Package e2e tests the daemon from outside, as one program among others: libiscsi's
// tools and QEMU's block tools are the initiators, the store is a directory or a real
// S3 server in a process of its own, and the command line is the only way in.
package e2e
