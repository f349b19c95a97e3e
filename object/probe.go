package object

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"
)

const (
	probePrefix  = "probe/"         // where Probe writes
	probeCleanup = 10 * time.Second // how long it may take to clean up, also when its context has ended
)

// Probe checks, with a few small objects of its own, that a store keeps the promises that
// data depends on: conditional writes are honoured, ranges are what was asked for, and
// what was written is seen at once by reads and listings. A store that ignores
// conditions would let two gateways write one volume. The error says what is missing and
// what can be done. Give Probe a store without Retry, so that a wrong password is
// reported at once.
func Probe(ctx context.Context, s Store) (err error) {
	p := probe{store: s, key: probePrefix + rand.Text()}
	defer func() {
		cleanCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeCleanup)
		defer cancel()
		// Cleaning up matters less than what was found.
		if delErr := s.Delete(cleanCtx, p.key); delErr != nil && err == nil {
			err = fmt.Errorf("probe the object store: delete: %w", delErr)
		}
	}()
	for _, step := range []func(context.Context) error{p.create, p.createAgain, p.ranges, p.listing, p.replace, p.replaceStale, p.remove} {
		if err := step(ctx); err != nil {
			return fmt.Errorf("probe the object store: %w", err)
		}
	}
	return nil
}

type probe struct {
	store      Store
	key        string
	body, etag string // what the object should be now
	stale      string // the ETag that it had before
}

const needsConditions = "Volumes are fenced by conditional writes, so this store would let two gateways damage one volume. " +
	"Use a server (or a newer version of it) that supports If-Match and If-None-Match on PutObject, and no proxy that drops them"

func (p *probe) create(ctx context.Context) (err error) {
	p.body = "sluice probe 1 " + rand.Text()
	if p.etag, err = p.store.PutIf(ctx, p.key, []byte(p.body), ""); err != nil {
		return fmt.Errorf("create an object that must not exist yet: %w", err)
	}
	return p.check(ctx, "was created")
}

func (p *probe) createAgain(ctx context.Context) error {
	_, err := p.store.PutIf(ctx, p.key, []byte("sluice probe: must not be stored"), "")
	if err == nil {
		return errors.New("the store overwrites an object although If-None-Match forbids it. " + needsConditions)
	}
	if !errors.Is(err, ErrPrecondition) {
		return fmt.Errorf("create an object that exists (the store should say that the precondition failed): %w", err)
	}
	return p.check(ctx, "refused a second creation")
}

func (p *probe) ranges(ctx context.Context) error {
	size := int64(len(p.body))
	for _, r := range []struct{ off, n int64 }{{0, 1}, {3, 7}, {5, -1}, {size - 2, 10}, {size, 4}} {
		want := p.body[r.off:]
		if r.n >= 0 {
			want = want[:min(r.n, int64(len(want)))]
		}
		got, _, err := p.store.GetRange(ctx, p.key, r.off, r.n)
		if err != nil {
			return fmt.Errorf("read %d bytes from %d of %d: %w", r.n, r.off, size, err)
		}
		if string(got) != want {
			return fmt.Errorf("reading %d bytes from %d of %d returns other bytes than were written. "+
				"Use a store that supports ranged reads, and no cache or proxy that breaks them", r.n, r.off, size)
		}
	}
	return nil
}

func (p *probe) listing(ctx context.Context) error {
	for info, err := range p.store.List(ctx, p.key, "") {
		if err != nil {
			return fmt.Errorf("list: %w", err)
		}
		if info.Key == p.key && info.Size == int64(len(p.body)) && info.ETag == p.etag {
			return nil
		}
	}
	return errors.New("an object that was just written is not listed as it is. " +
		"Use a store whose listings are consistent after each write (as AWS S3's are)")
}

func (p *probe) replace(ctx context.Context) error {
	next := "sluice probe 2 " + rand.Text()
	etag, err := p.store.PutIf(ctx, p.key, []byte(next), p.etag)
	if err != nil {
		return fmt.Errorf("replace an object by If-Match (ETags such as %q may need the option unquoted-etags): %w", p.etag, err)
	}
	if etag == p.etag {
		return fmt.Errorf("two different objects have the same ETag %q. %s", etag, needsConditions)
	}
	p.body, p.etag, p.stale = next, etag, p.etag
	return p.check(ctx, "was replaced")
}

func (p *probe) replaceStale(ctx context.Context) error {
	_, err := p.store.PutIf(ctx, p.key, []byte("sluice probe: must not be stored either"), p.stale)
	if err == nil {
		return errors.New("the store overwrites an object although If-Match names another version of it. " + needsConditions)
	}
	if !errors.Is(err, ErrPrecondition) {
		return fmt.Errorf("replace an object by a stale If-Match (the store should say that the precondition failed): %w", err)
	}
	return p.check(ctx, "refused a stale replacement")
}

func (p *probe) remove(ctx context.Context) error {
	if err := p.store.Delete(ctx, p.key); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	_, err := p.store.Stat(ctx, p.key)
	if err == nil {
		return errors.New("an object that was just deleted is still found. " +
			"Use a store that is consistent after each write, and no cache in front of it")
	}
	if !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("look for a deleted object: %w", err)
	}
	_, err = p.store.PutIf(ctx, p.key, []byte("sluice probe: must not be stored at all"), p.etag)
	if err == nil {
		return errors.New("the store creates an object although If-Match names one to replace. " + needsConditions)
	}
	if !errors.Is(err, ErrPrecondition) {
		return fmt.Errorf("replace a deleted object (the store should say that the precondition failed): %w", err)
	}
	return nil
}

// check reads the object back after what just happened.
func (p *probe) check(ctx context.Context, what string) error {
	got, etag, err := p.store.GetRange(ctx, p.key, 0, -1)
	if err != nil {
		return fmt.Errorf("read back after the store %s: %w", what, err)
	}
	if string(got) != p.body || etag != p.etag {
		return fmt.Errorf("after the store %s, a read returns another object. "+
			"Use a store that is consistent after each write, and no cache in front of it", what)
	}
	return nil
}
