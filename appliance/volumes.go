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
	"sluice/target/sbc"
	"sluice/volume"
	"sluice/volume/stored"
)

// catalogue is what the gateway needs of the bucket's volumes.
type catalogue interface {
	Create(ctx context.Context, n volume.New) (*volume.Head, error)
	Find(ctx context.Context, name string) (*volume.Head, error)
	List(ctx context.Context) ([]*volume.Head, error)
	Delete(ctx context.Context, name string) error
	opener
	pastReader
}

// opener serves volumes; see volume.Open and package stored.
type opener interface {
	Open(ctx context.Context, head *volume.Head, force bool) (servedVolume, error)
	// TakeOver opens a volume that another gateway owns, if its head is still this one.
	TakeOver(ctx context.Context, head *volume.Head) (servedVolume, error)
	// Place notes where the data of a new stored volume is to be, and Unplace removes what is here of one.
	Place(id uuid.UUID, p stored.Placement) error
	Unplace(id uuid.UUID) error
}

// pastReader looks up moments in the bucket; see volume.At and volume.Moments.
type pastReader interface {
	At(ctx context.Context, head *volume.Head, t time.Time) (*volume.Past, error)
	Moments(ctx context.Context, head *volume.Head, limit int) ([]volume.Moment, error)
}

// servedVolume is a volume that this gateway serves; see volume.Volume.
type servedVolume interface {
	sbc.Disk
	Resize(ctx context.Context, size int64) error
	Hold(ctx context.Context) (momentHold, error)
	Stats() volume.Stats
	attachment
}

// attachment is how the serving of a volume ends.
type attachment interface {
	Detach(ctx context.Context) error
	Abandon(ctx context.Context) error
	Close() error
}

// exporter makes volumes reachable by initiators.
type exporter interface {
	// Export adds a target for the disk of a volume.
	Export(head *volume.Head, disk sbc.Disk) error
	// Withdraw removes it. When it returns, nothing uses the disk any more.
	Withdraw(ctx context.Context, name string) error
	// Forget drops what is kept here about a disk that leaves this gateway.
	Forget(id uuid.UUID) error
	// Grown tells initiators that a disk has another size now.
	Grown(name string)
	// Sessions lists who is logged in.
	Sessions(name string) []target.SessionInfo
	// Drop closes the sessions for which match is true.
	Drop(ctx context.Context, name string, match func(target.SessionInfo) bool) error
}

// entry is a volume that this gateway owns. It is replaced, never changed.
type entry struct {
	head *volume.Head // as it was when the volume was attached
	vol  servedVolume // nil if it could not be attached
	err  error        // why not
}

// failure says why the volume cannot be used, if it cannot.
func (e *entry) failure() string {
	if e.vol == nil {
		return e.err.Error()
	}
	return e.vol.Stats().Error
}

// volumes are those of this gateway, and its side of all others. It is the part of the
// api.Backend that deals with volumes and who may use them.
type volumes struct {
	log        *slog.Logger
	gateway    uuid.UUID
	portal     func() string // where initiators reach us
	bucket     catalogue
	exports    exporter
	access     *access
	imports    *imports
	holds      holds
	hydrations hydrations
	deleted    func() // called when something was deleted from the bucket, and left garbage
	// space tells what a volume takes in the bucket, or nil if that is not known.
	space func(uuid.UUID) *api.Space
	// resized is called with the number of volumes when it may have changed.
	resized func(volumes int)

	mu       sync.Mutex
	own      map[string]*entry       // by name
	standing map[string]*volume.Head // that another gateway serves and this one stands by for
	busy     map[string]struct{}     // names that an operation works on
}

// claim makes the caller the only one who works on a volume until it calls release.
func (v *volumes) claim(name string) (release func(), err error) {
	if err := api.CheckName(name); err != nil {
		return nil, api.Errorf(api.CodeInvalid, "%w", err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, ok := v.busy[name]; ok {
		return nil, api.Errorf(api.CodeConflict, "another operation on volume %s is under way", name).WithHint("try again when it has ended")
	}
	v.busy[name] = struct{}{}
	return func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.busy, name)
	}, nil
}

func (v *volumes) entry(name string) *entry {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.own[name]
}

func (v *volumes) set(name string, e *entry) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if e == nil {
		delete(v.own, name)
	} else {
		v.own[name] = e
	}
	v.resized(len(v.own))
}

// serving returns the volumes of this gateway, in the order of their names.
func (v *volumes) serving() []*entry {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.SortedFunc(maps.Values(v.own), func(a, b *entry) int { return strings.Compare(a.head.Name, b.head.Name) })
}

// byTarget finds the volume of a target's name.
func (v *volumes) byTarget(targetName string) *entry {
	name, ok := strings.CutPrefix(targetName, api.IQNPrefix)
	if !ok {
		return nil
	}
	return v.entry(name)
}

// attach opens a volume and makes it reachable. The caller has claimed its name.
func (v *volumes) attach(ctx context.Context, head *volume.Head, force bool) error {
	return v.attachBy(ctx, head, func() (servedVolume, error) { return v.bucket.Open(ctx, head, force) })
}

func (v *volumes) attachBy(ctx context.Context, head *volume.Head, open func() (servedVolume, error)) error {
	if err := v.standDown(ctx, head.Name); err != nil {
		return err
	}
	vol, err := open()
	if err != nil {
		return err
	}
	if err := v.exports.Export(head, vol); err != nil {
		return errors.Join(fmt.Errorf("exporting volume %s: %w", head.Name, err), vol.Close())
	}
	v.set(head.Name, &entry{head: head, vol: vol})
	v.log.InfoContext(ctx, "volume attached", "volume", head.Name, "size", api.Size(vol.Size()).String(), "epoch", vol.Stats().Epoch)
	return nil
}

// attachTogether bounds how many volumes are recovered at once: each may use the memory of a
// block map and the network.
const attachTogether = 4

// attachOwn attaches the volumes that the bucket says are this gateway's. Those that cannot
// be are kept as failed ones.
func (v *volumes) attachOwn(ctx context.Context) error {
	heads, err := v.bucket.List(ctx)
	if err != nil {
		return err
	}
	var group errgroup.Group
	group.SetLimit(attachTogether)
	for _, head := range heads {
		if !v.owns(head) || v.entry(head.Name) != nil {
			continue
		}
		group.Go(func() error {
			err := v.attach(ctx, head, false)
			if err == nil || ctx.Err() != nil {
				return ctx.Err()
			}
			v.log.ErrorContext(ctx, "volume cannot be attached; the others are served", "volume", head.Name, "error", err)
			v.set(head.Name, &entry{head: head, err: err})
			return nil
		})
	}
	return group.Wait()
}

// settle has the leased volumes upload what they have: while this gateway is stopped another one may take them over.
func (v *volumes) settle(ctx context.Context, patience time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var settling sync.WaitGroup
	for _, e := range v.serving() {
		vol, ok := e.vol.(leasedVolume)
		if !ok || e.failure() != "" {
			continue
		}
		settling.Go(func() {
			if err := vol.Settle(ctx); err != nil {
				v.log.Warn("not all of the volume is in the bucket: a gateway that takes it over misses the rest",
					"volume", e.head.Name, "queued_bytes", vol.Stats().Queued, "error", err)
			}
		})
	}
	settling.Wait()
}

// closeAll makes what all volumes accepted durable on local disk.
func (v *volumes) closeAll(context.Context) error {
	var mu sync.Mutex
	var failed error
	var closing sync.WaitGroup
	for _, e := range v.serving() {
		if e.vol == nil {
			continue
		}
		closing.Go(func() {
			if err := e.vol.Close(); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = errors.Join(failed, err)
			}
		})
	}
	closing.Wait()
	return failed
}

// checkPortal refuses a portal that strangers reach while nobody on their side could use
// any volume: that is a mistake in the configuration, and the next step after it would be
// to open the volumes to all.
func (v *volumes) checkPortal(address string) error {
	if loopbackAddress(address) {
		return nil
	}
	var without []string
	all := v.serving()
	for _, e := range all {
		if v.access.of(e.head.ID).open() {
			without = append(without, e.head.Name)
		}
	}
	if len(all) > 0 && len(without) == len(all) {
		return fmt.Errorf("iscsi-listen %s is not a loopback address, and no volume has an access list or CHAP: start with --iscsi-listen 127.0.0.1:3260, "+
			"run \"sluice initiator allow %s --iqn IQN\" or \"sluice chap set %[2]s ...\", and then open the portal", address, without[0])
	}
	for _, name := range without {
		v.log.Warn("volume has neither an access list nor CHAP: only initiators on this machine may log in",
			"volume", name, "remedy", "sluice initiator allow "+name+" --iqn IQN")
	}
	return nil
}
