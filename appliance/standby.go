package appliance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"sluice/appliance/api"
	"sluice/target"
	"sluice/volume"
)

const (
	// standbyLook is how often a standby looks at the heads that it knows, and standbyList how often for new ones.
	standbyLook = time.Second
	standbyList = 10 * time.Second
	// standbyGap is the longest time between two looks that saw the same head for which that counts as silence of its owner: after a
	// longer one, such as when the bucket could not be reached from here either, the silence begins anew.
	standbyGap = 5 * time.Second
	// standbyTogether bounds how many heads are read, or volumes taken over, at once.
	standbyTogether = 8
)

// standby takes over the volumes of a group from gateways that have died, and keeps those of this gateway from being
// answered for when their lease has run out.
type standby struct {
	group   string // empty: none is taken over
	volumes *volumes
	read    func(ctx context.Context, id uuid.UUID) (*volume.Head, error)
	log     *slog.Logger

	mu      sync.Mutex // protects what follows
	watched map[uuid.UUID]*watched
	failed  map[string]bool // volumes that were taken over and could not be attached, by name
}

// watched is a volume that another gateway serves.
type watched struct {
	head   *volume.Head
	since  time.Time // when it was first seen as it is, with no gap since
	looked time.Time // when it was last seen so
}

func newStandby(v *volumes, group string, read func(context.Context, uuid.UUID) (*volume.Head, error), log *slog.Logger) *standby {
	return &standby{group: group, volumes: v, read: read, log: log, watched: map[uuid.UUID]*watched{}, failed: map[string]bool{}}
}

// run works until ctx ends.
func (s *standby) run(ctx context.Context) {
	tick := time.NewTicker(standbyLook)
	defer tick.Stop()
	var listed time.Time
	for {
		s.volumes.fence(ctx)
		if s.group != "" {
			if listed.IsZero() || time.Since(listed) >= standbyList {
				if err := s.list(ctx); err == nil {
					listed = time.Now()
				} else if ctx.Err() == nil {
					s.log.WarnContext(ctx, "the standby cannot list the volumes of its group", "group", s.group, "error", err)
				}
			}
			s.look(ctx)
			s.mend(ctx)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// ours tells whether a volume is one to be taken over when its owner dies.
func (s *standby) ours(h *volume.Head) bool {
	return h.Owner != nil && h.Owner.Group == s.group && h.Owner.Lease > 0 && h.Mode == volume.Cached && !s.volumes.owns(h)
}

// list looks for volumes of the group.
func (s *standby) list(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, standbyList)
	defer cancel()
	heads, err := s.volumes.bucket.List(ctx)
	if err != nil {
		return err
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range heads {
		if s.ours(h) && s.watched[h.ID] == nil {
			s.watched[h.ID] = &watched{head: h, since: now, looked: now}
			s.log.InfoContext(ctx, "standing by", "volume", h.Name, "owner", h.Owner.Gateway, "host", h.Owner.Host)
		}
	}
	return nil
}

// look reads the heads of all watched volumes, and takes over those that have not changed for too long.
func (s *standby) look(ctx context.Context) {
	s.mu.Lock()
	ids := slices.Collect(maps.Keys(s.watched))
	s.mu.Unlock()
	var group errgroup.Group
	group.SetLimit(standbyTogether)
	for _, id := range ids {
		group.Go(func() error {
			s.lookAt(ctx, id)
			return nil
		})
	}
	_ = group.Wait() // there are no errors
}

func (s *standby) lookAt(ctx context.Context, id uuid.UUID) {
	reading, cancel := context.WithTimeout(ctx, standbyGap)
	head, err := s.read(reading, id)
	cancel()
	if err != nil && !errors.Is(err, volume.ErrNotFound) {
		return // a gap
	}
	if err != nil || !s.ours(head) {
		s.drop(ctx, id)
		return
	}
	if !s.note(head, time.Now()) {
		s.stand(ctx, head)
		return
	}
	why := "a gateway gives no sign of life: its volume is taken over"
	if head.Owner.Stopped {
		why = "a gateway has stopped: its volume is taken over"
	}
	s.log.WarnContext(ctx, why, "volume", head.Name, "gateway", head.Owner.Gateway, "host", head.Owner.Host, "queued_bytes", head.Owner.Queued)
	s.takeOver(ctx, head)
}

// note says what a head was like at a time. It reports whether its owner has been silent for so long that its lease has run out,
// whatever its clock does.
func (s *standby) note(head *volume.Head, now time.Time) (silent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.watched[head.ID]
	if w == nil {
		return false
	}
	if w.head.Nonce != head.Nonce || now.Sub(w.looked) > standbyGap {
		w.since = now
	}
	w.head, w.looked = head, now
	return now.Sub(w.since) >= patience(head.Owner)
}

// patience is for how long a standby waits for a sign of life: longer than the lease, by more than two clocks can differ in it.
func patience(o *volume.Owner) time.Duration {
	if o.Stopped {
		return 0
	}
	term := time.Duration(o.Lease) * time.Second
	return term + max(term/5, 2*time.Second)
}

// drop forgets a volume that is not to be taken over any more.
func (s *standby) drop(ctx context.Context, id uuid.UUID) {
	s.mu.Lock()
	w := s.watched[id]
	delete(s.watched, id)
	s.mu.Unlock()
	if w == nil {
		return
	}
	if err := s.volumes.standDown(ctx, w.head.Name); err != nil {
		s.log.WarnContext(ctx, "the path to a volume cannot be taken away", "volume", w.head.Name, "error", err)
	}
}

// stand offers initiators the path that the volume will have here.
func (s *standby) stand(ctx context.Context, head *volume.Head) {
	if err := s.volumes.stand(ctx, head); err != nil {
		s.log.WarnContext(ctx, "the path to a volume cannot be offered", "volume", head.Name, "error", err)
	}
}

// takeOver takes a volume from its owner, unless that has given a sign of life after all.
func (s *standby) takeOver(ctx context.Context, head *volume.Head) {
	began := time.Now()
	err := s.volumes.takeOver(ctx, head)
	if errors.Is(err, volume.ErrOwned) {
		return // there was one, or another standby was faster
	}
	s.mu.Lock()
	if err != nil {
		s.failed[head.Name] = true // if it is ours already; else it is still watched
	} else {
		delete(s.watched, head.ID)
	}
	s.mu.Unlock()
	if err != nil {
		s.log.ErrorContext(ctx, "a volume could not be taken over; it is tried again", "volume", head.Name, "error", err)
		return
	}
	s.log.InfoContext(ctx, "volume taken over", "volume", head.Name, "from", head.Owner.Host, "took", time.Since(began).Round(time.Millisecond).String())
}

// mend tries again what could not be taken over.
func (s *standby) mend(ctx context.Context) {
	s.mu.Lock()
	names := slices.Collect(maps.Keys(s.failed))
	s.mu.Unlock()
	for _, name := range names {
		if _, err := s.volumes.AttachVolume(ctx, name, api.AttachRequest{}); err != nil && !errors.Is(err, volume.ErrOwned) && !errors.Is(err, volume.ErrNotFound) {
			continue
		}
		s.mu.Lock()
		delete(s.failed, name)
		s.mu.Unlock()
	}
}

// status describes what is stood by for; nil if nothing ever is.
func (s *standby) status() *api.StandbyStatus {
	if s.group == "" {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	shown := &api.StandbyStatus{Group: s.group, Volumes: []api.StandbyVolume{}}
	for _, w := range s.watched {
		o := w.head.Owner
		shown.Volumes = append(shown.Volumes, api.StandbyVolume{
			Name: w.head.Name, Gateway: o.Gateway, Host: o.Host, Queued: o.Queued, Silent: time.Since(w.since).Seconds(), Patience: patience(o).Seconds(),
		})
	}
	slices.SortFunc(shown.Volumes, func(a, b api.StandbyVolume) int { return strings.Compare(a.Name, b.Name) })
	return shown
}

// takeOver attaches a volume that another gateway owns, if its head is still this one.
func (v *volumes) takeOver(ctx context.Context, head *volume.Head) error {
	release, err := v.claim(head.Name)
	if err != nil {
		return err
	}
	defer release()
	if e := v.entry(head.Name); e != nil { // lost earlier
		if err := v.takeDown(ctx, e); err != nil {
			return err
		}
	}
	if err := v.forgetHere(head.ID); err != nil {
		return err
	}
	err = v.attachBy(ctx, head, func() (servedVolume, error) { return v.bucket.TakeOver(ctx, head) })
	if err != nil && !errors.Is(err, volume.ErrOwned) {
		v.set(head.Name, &entry{head: head, err: err})
	}
	return err
}

// stand makes the path to a volume visible through which another gateway's initiators may reach it later. It answers no I/O.
func (v *volumes) stand(ctx context.Context, head *volume.Head) error {
	v.mu.Lock()
	known, served := v.standing[head.Name], v.own[head.Name] != nil
	v.mu.Unlock()
	if served || known != nil && known.ID == head.ID && known.Size == head.Size && known.WriteThrough == head.WriteThrough {
		return nil
	}
	if err := v.standDown(ctx, head.Name); err != nil {
		return err
	}
	if err := v.exports.Export(head, standbyDisk{head.Size}); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.standing[head.Name] = head
	return nil
}

// standDown takes that path away, if there is one.
func (v *volumes) standDown(ctx context.Context, name string) error {
	v.mu.Lock()
	_, standing := v.standing[name]
	delete(v.standing, name)
	v.mu.Unlock()
	if !standing {
		return nil
	}
	return v.exports.Withdraw(ctx, name)
}

// standingFor finds the volume of a target's name that this gateway stands by for.
func (v *volumes) standingFor(targetName string) *volume.Head {
	name, ok := strings.CutPrefix(targetName, api.IQNPrefix)
	if !ok {
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.standing[name]
}

// fence ends the sessions of volumes whose lease has run out, so that initiators turn to another path, and takes those down that
// another gateway serves now.
func (v *volumes) fence(ctx context.Context) {
	for _, e := range v.serving() {
		lease := leaseOf(e.vol)
		if lease == nil || lease.Held() {
			continue
		}
		if err := v.fenceOne(ctx, e, lease); err != nil && ctx.Err() == nil {
			v.log.WarnContext(ctx, "the sessions of a volume cannot be ended", "volume", e.head.Name, "error", err)
		}
	}
}

func (v *volumes) fenceOne(ctx context.Context, e *entry, lease *volume.Lease) error {
	name := e.head.Name
	if lease.Lost() == nil {
		if n := len(v.exports.Sessions(name)); n > 0 {
			v.log.WarnContext(ctx, "the volume's lease has run out: its sessions are ended", "volume", name, "sessions", n)
		}
		return v.exports.Drop(ctx, name, func(target.SessionInfo) bool { return true })
	}
	release, err := v.claim(name)
	if err != nil {
		return nil // an operation is under way: the next look is soon
	}
	defer release()
	if v.entry(name) != e {
		return nil
	}
	v.log.WarnContext(ctx, "the volume is served by another gateway now", "volume", name)
	if err := v.takeDown(ctx, e); err != nil {
		return fmt.Errorf("taking it down: %w", err)
	}
	return nil
}
