package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// Guard protects a handler that is reachable by TCP. With a token every request must carry
// it; without one, requests must be addressed to a loopback address by its number or as
// localhost. Requests that a browser makes for a page of another site are refused
// in either case.
func Guard(next http.Handler, token Secret, logger *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := admit(r, token); err != nil {
			fail(w, r, err, logger)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func admit(r *http.Request, token Secret) error {
	if token == "" && !loopbackHost(r.Host) {
		return Errorf(CodeForbidden, "host %q is not a loopback address", r.Host).WithHint("use http://127.0.0.1:PORT")
	}
	if origin := r.Header.Get("Origin"); origin != "" && !sameHost(origin, r.Host) {
		return Errorf(CodeForbidden, "a page of another site made this request")
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
	default:
		return Errorf(CodeForbidden, "a page of another site made this request")
	}
	if token != "" && !bearer(r, token) {
		return Errorf(CodeUnauthorized, "the token is missing or wrong").WithHint("use --token-file or SLUICE_TOKEN_FILE")
	}
	return nil
}

// bearer compares hashes, so that the time it takes tells nothing about the token.
func bearer(r *http.Request, token Secret) bool {
	scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	got, want := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1 && strings.EqualFold(scheme, "Bearer")
}

func sameHost(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && strings.EqualFold(u.Host, host)
}

func loopbackHost(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	address, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && address.Unmap().IsLoopback()
}
