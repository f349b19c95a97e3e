// Command sluice is an iSCSI volume gateway: "sluice serve" is the daemon, every other
// verb is a client of its API.
//
// Every verb has a file of its own. A verb parses its arguments, makes one request, and hands
// the answer to output, which prints it for people or, with --json, as the one document
// that the API gave. With --json there is always exactly one document on the standard output:
// the answer, or {"error": {...}}. For people a failure is one line on the standard error,
// with or without --json.
//
// # Exit status
//
//	0  done
//	1  anything that is not below
//	2  usage: the command or a value in it makes no sense
//	3  not found: no such volume, or no such initiator
//	4  conflict: not in the present state, such as deleting a volume in use
//	5  the daemon cannot be reached
package main
