package target

import (
	"net"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestNewcomersModel: whoever comes and goes, the limits hold, the one that makes room is
// the oldest of its address or of the largest crowd, and nobody who has logged in does.
func TestNewcomersModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := New(Options{Authorizer: everybody{}, Limits: Limits{PendingPerIP: 3, Connections: 6}})
		var pending, in []*conn // the model, in the order of coming
		take := func(from *[]*conn) *conn {
			i := rapid.IntRange(0, len(*from)-1).Draw(t, "which")
			c := (*from)[i]
			*from = slices.Delete(*from, i, i+1)
			return c
		}
		t.Repeat(map[string]func(*rapid.T){
			"come": func(t *rapid.T) {
				c := &conn{host: rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "host")}
				of := func(host string) (all []*conn) {
					for _, p := range pending {
						if p.host == host {
							all = append(all, p)
						}
					}
					return all
				}
				full := len(pending)+len(in) >= 6
				evicted, err := s.enter(c)
				switch own := of(c.host); {
				case len(own) >= 3:
					if evicted != own[0] {
						t.Fatal("not the oldest of its address had to go")
					}
				case full && len(pending) == 0:
					if err == nil {
						t.Fatal("let in where all have logged in")
					}
					return
				case full:
					if evicted == nil || evicted != of(evicted.host)[0] {
						t.Fatal("nobody, or not the oldest of an address, had to go")
					}
					for _, p := range pending {
						if len(of(p.host)) > len(of(evicted.host)) {
							t.Fatal("one of a small crowd had to go")
						}
					}
				case evicted != nil:
					t.Fatal("one had to go though there was room")
				}
				if err != nil {
					t.Fatal(err)
				}
				pending = append(slices.DeleteFunc(pending, func(p *conn) bool { return p == evicted }), c)
				if evicted != nil && s.loggedIn(evicted) == nil {
					t.Fatal("one who had to go has logged in")
				}
			},
			"log in": func(t *rapid.T) {
				if len(pending) > 0 {
					c := take(&pending)
					if err := s.loggedIn(c); err != nil {
						t.Fatal(err)
					}
					in = append(in, c)
				}
			},
			"go": func(t *rapid.T) {
				switch {
				case len(in) > 0 && rapid.Bool().Draw(t, "logged in"):
					s.leave(take(&in))
				case len(pending) > 0:
					s.leave(take(&pending))
				}
			},
			"": func(t *rapid.T) {
				counted := 0
				for host, all := range s.newcomers {
					if counted += len(all); len(all) == 0 || len(all) > 3 {
						t.Fatalf("%d from %s", len(all), host)
					}
				}
				if counted != len(pending) || len(s.conns) != len(pending)+len(in) || len(s.conns) > 6 {
					t.Fatalf("%d and %d are counted, where %d have not logged in and %d have", counted, len(s.conns), len(pending), len(in))
				}
			},
		})
	})
}

func TestHostOf(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.1:3260":               "192.0.2.1",
		"[::ffff:192.0.2.1]:3260":      "192.0.2.1",
		"[2001:db8:1:2:3:4:5:6]:3260":  "2001:db8:1:2::/64",
		"[2001:db8:1:2:ffff::1]:1":     "2001:db8:1:2::/64",
		"[fe80::1%eth0]:3260":          "fe80::/64",
		"[::1]:3260":                   "::1",
		"something else than a socket": "something else than a socket",
	} {
		if got := hostOf(name(address)); got != want {
			t.Errorf("%s: %s, expected %s", address, got, want)
		}
	}
}

// name is an address that is only text.
type name string

func (n name) Network() string { return "" }
func (n name) String() string  { return string(n) }

var _ net.Addr = name("")
