package object

import (
	"context"
	"time"
)

// Watcher is told of each failure of a call that is going to be tried again, and when that will be.
type Watcher func(err error, next time.Time)

type watcherKey struct{}

// Watch returns a context with whose calls a Retrier tells w what they wait for. W must not block.
func Watch(ctx context.Context, w Watcher) context.Context {
	return context.WithValue(ctx, watcherKey{}, w)
}

// tell tells the watcher of a context, if it has one.
func tell(ctx context.Context, err error, next time.Time) {
	if w, ok := ctx.Value(watcherKey{}).(Watcher); ok {
		w(err, next)
	}
}
