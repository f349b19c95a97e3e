package hostilestore

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Sometimes lets one request in n be the victim of a fault.
func Sometimes(n int, f Fault) Fault {
	return func(w http.ResponseWriter, r *Request) {
		if rand.IntN(n) == 0 {
			f(w, r)
		} else {
			Pass(w, r)
		}
	}
}

// Each lets each n-th request be the victim of a fault.
func Each(n int64, f Fault) Fault {
	var count atomic.Int64
	return func(w http.ResponseWriter, r *Request) {
		if count.Add(1)%n == 0 {
			f(w, r)
		} else {
			Pass(w, r)
		}
	}
}

// Late answers, but only after a while.
func Late(d time.Duration) Fault {
	return func(w http.ResponseWriter, r *Request) {
		select {
		case <-time.After(d):
			Pass(w, r)
		case <-r.Context().Done():
		}
	}
}

// Refuse answers with an error of S3, without a body if it has no name.
func Refuse(status int, code string) Fault {
	return func(w http.ResponseWriter, r *Request) {
		if code == "" || r.Method == http.MethodHead {
			w.WriteHeader(status)
			return
		}
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, "<?xml version=\"1.0\"?><Error><Code>%s</Code><Message>as the test wants it</Message></Error>", code)
	}
}

// Cut does nothing and cuts the connection.
func Cut(w http.ResponseWriter, _ *Request) { Reset(w) }

// AnswerLost does what it is asked and cuts the connection.
func AnswerLost(w http.ResponseWriter, r *Request) {
	_, _ = r.Ask()
	Reset(w)
}

// Answers has something done to the bodies of what is read.
func Answers(change func(a *Answer)) Fault {
	return func(w http.ResponseWriter, r *Request) {
		a, err := r.Ask()
		if err != nil {
			Reset(w)
			return
		}
		if r.Method == http.MethodGet && len(a.Body) > 0 {
			change(a)
		}
		a.Send(w)
	}
}

// Truncated ends in the middle.
func Truncated(a *Answer) { a.Body = a.Body[:len(a.Body)/2] }

// Short ends early and says that this was all.
func Short(a *Answer) {
	Truncated(a)
	a.Header.Set("Content-Length", fmt.Sprint(len(a.Body)))
}

// Flipped has a bit changed.
func Flipped(a *Answer) { a.Body[rand.IntN(len(a.Body))] ^= 1 << rand.IntN(8) }

// Skewed has a Date of another hour.
func Skewed(by time.Duration) Fault {
	return func(w http.ResponseWriter, r *Request) {
		a, err := r.Ask()
		if err != nil {
			Reset(w)
			return
		}
		a.Header.Set("Date", time.Now().Add(by).UTC().Format(http.TimeFormat))
		a.Send(w)
	}
}

// DamagedRequest passes a body on that is not the one that was sent.
func DamagedRequest(w http.ResponseWriter, r *Request) {
	if len(r.body) > 0 {
		r.body[rand.IntN(len(r.body))] ^= 0x10
	}
	Pass(w, r)
}

// Lagging lists what was there when the same was listed first.
func Lagging() Fault {
	var mu sync.Mutex
	listed := map[string]*Answer{}
	return func(w http.ResponseWriter, r *Request) {
		if r.Method != http.MethodGet || r.URL.Query().Get("list-type") == "" {
			Pass(w, r)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		key := r.URL.RequestURI()
		if listed[key] == nil {
			a, err := r.Ask()
			if err != nil {
				Reset(w)
				return
			}
			listed[key] = a
		}
		listed[key].Send(w)
	}
}
