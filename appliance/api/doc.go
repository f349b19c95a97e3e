// Package api is the contract between the daemon and everything that steers it: the
// types of requests and answers, the HTTP handlers, and the client that the command line
// uses. It knows nothing of volumes or iSCSI; the daemon hands it a Backend.
//
// # Transport
//
// The daemon answers HTTP/1.1 on a unix socket in its data directory (mode 0600: who may
// open the socket may do everything), and, if it is told to, on TCP. Over TCP only
// loopback addresses may be used, unless a token file is set; then every request needs
// "Authorization: Bearer TOKEN". Browsers are kept out: a request that another site's
// page makes is refused by its Origin, and one that reached us by a name that somebody
// else resolves to 127.0.0.1 (DNS rebinding) by its Host.
//
// # Conventions
//
// Paths begin with /v1. Bodies are JSON with snake_case keys; a request with an unknown
// key is refused. Sizes are whole bytes in keys that end in _bytes, times are RFC 3339
// in UTC. A failure is
//
//	{"error": {"code": "not_found", "message": "...", "hint": "..."}}
//
// with the status that belongs to the code (see Code). Secrets go in and never come out.
//
// openapi.yaml describes every route, and is served as /v1/openapi.yaml.
package api
