package appliance

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"sluice/object"
	"sluice/volume"
)

// bucket is the catalogue of a real object store.
type bucket struct {
	store object.Store
	opts  volume.Options
	dir   string // of stored volumes
}

// Create implements catalogue.
func (b *bucket) Create(ctx context.Context, n volume.New) (*volume.Head, error) {
	return volume.Create(ctx, b.store, n)
}

// Find implements catalogue.
func (b *bucket) Find(ctx context.Context, name string) (*volume.Head, error) {
	return volume.Find(ctx, b.store, name)
}

// List implements catalogue.
func (b *bucket) List(ctx context.Context) ([]*volume.Head, error) { return volume.List(ctx, b.store) }

// Delete implements catalogue.
func (b *bucket) Delete(ctx context.Context, name string) error {
	return volume.Delete(ctx, b.store, name)
}

// At implements catalogue.
func (b *bucket) At(ctx context.Context, head *volume.Head, t time.Time) (*volume.Past, error) {
	return volume.At(ctx, b.store, head, t)
}

// Moments implements catalogue.
func (b *bucket) Moments(ctx context.Context, head *volume.Head, limit int) ([]volume.Moment, error) {
	return volume.Moments(ctx, b.store, head, time.Now(), limit)
}

const (
	// maxRequests bounds what the gateway asks of the store at once. Each may hold a body
	// of 32 MiB.
	maxRequests = 128
	// probeTime is how long the store may be unreachable when the gateway starts, probeTimeStored the same if there
	// are volumes that can be served without it, and
	// probeEvery how often it is asked.
	probeTime       = 30 * time.Second
	probeTimeStored = 5 * time.Second
	probeEvery      = 2 * time.Second
)

// probeStore checks that the store keeps its promises. It asks again for a while where the
// store is only unreachable: it may be starting, too.
func probeStore(ctx context.Context, store object.Store, patience time.Duration, log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		err := object.Probe(ctx, store)
		if err == nil || !object.Transient(err) || ctx.Err() != nil {
			return err
		}
		log.WarnContext(ctx, "the object store cannot be reached; trying again", "error", err)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("not reachable for %v: %w", patience, err)
		}
	}
}

// decorate adds counting and persistence to a store: Count is under Retry, so that it
// counts what the provider bills.
func decorate(store object.Store, log *slog.Logger) (object.Store, *object.Counter) {
	counter := object.Count(store)
	retrier := object.Retry(counter, object.RetryOptions{Refused: true, Logger: log})
	return object.Limit(retrier, object.LimitOptions{Requests: maxRequests}), counter
}
