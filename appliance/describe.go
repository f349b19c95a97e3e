package appliance

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/google/uuid"

	"sluice/appliance/api"
	"sluice/target"
	"sluice/volume"
)

// describe describes a volume of this gateway. It waits for nothing.
func (v *volumes) describe(e *entry) *api.Volume {
	shown := v.describeHead(e.head)
	if e.vol == nil {
		shown.State, shown.Error = api.StateFailed, e.err.Error()
		return shown
	}
	st := e.vol.Stats()
	shown.State = api.StateAttached
	if st.Error != "" {
		shown.State, shown.Error = api.StateFailed, st.Error
	}
	shown.Size, shown.Epoch = st.Size, st.Epoch
	shown.Owner = nil
	shown.Path, shown.Changed, shown.Missing = st.Path, st.Changed, st.Missing
	shown.Queued, shown.QueuedSegments, shown.UploadError = st.Queued, st.Segments, st.UploadError
	for _, w := range st.Waiting {
		shown.Waiting = append(shown.Waiting, describeWaiting(w))
	}
	if !st.Oldest.IsZero() {
		shown.OldestQueued = new(st.Oldest.UTC())
	}
	shown.Counters = &api.Counters{
		ReadBytes: st.ReadBytes, WriteBytes: st.WriteBytes, ReadOps: st.ReadOps, WriteOps: st.WriteOps, Flushes: st.Flushes,
		UploadedBytes: st.UploadedBytes, UploadedSegments: st.UploadedSegments, ChecksumErrors: st.ChecksumErrors, Roots: st.Roots,
	}
	if lease := leaseOf(e.vol); lease != nil {
		shown.Lease = &api.Lease{Group: st.Group, Term: lease.Term().Seconds(), Held: lease.Held()}
	}
	shown.Takeover, shown.Durability, shown.WriteThrough = describeTakeover(st.Takeover), string(st.Durability), e.head.WriteThrough
	if note, unfinished := v.imports.of(e.head.ID); unfinished {
		shown.Import = &note.Done
	}
	for _, s := range v.exports.Sessions(e.head.Name) {
		shown.Sessions = append(shown.Sessions, describeSession(s))
	}
	shown.Attach = []string{
		"iscsiadm --mode discovery --type sendtargets --portal " + shown.Portal,
		fmt.Sprintf("iscsiadm --mode node --targetname %s --portal %s --login", shown.IQN, shown.Portal),
	}
	return shown
}

// describeOther describes a volume that this gateway does not serve.
func (v *volumes) describeOther(head *volume.Head) *api.Volume {
	shown := v.describeHead(head)
	shown.State = api.StateDetached
	switch {
	case head.Owner == nil:
	case v.owns(head):
		shown.State, shown.Error = api.StateFailed, "it belongs to this gateway, which has not attached it"
	default:
		shown.State = api.StateElsewhere
		shown.Owner = &api.Owner{Gateway: head.Owner.Gateway, Host: head.Owner.Host, Renewed: head.Owner.Renewed}
	}
	return shown
}

func (v *volumes) describeHead(head *volume.Head) *api.Volume {
	shown := &api.Volume{
		Name: head.Name, ID: head.ID.String(), Mode: string(head.Mode), Size: head.Size, Created: head.Created, Epoch: head.Epoch,
		IQN: api.IQN(head.Name), Portal: v.portal(), Sessions: []api.Session{}, Access: v.access.of(head.ID).show(),
		Space: v.space(head.ID), Takeover: describeTakeover(head.Takeover),
	}
	if o := head.Origin; o != nil {
		shown.Origin = &api.Origin{Volume: o.Volume, Time: o.Time}
		if o.Snapshot != uuid.Nil {
			shown.Origin.Snapshot = o.Snapshot.String()
		}
	}
	return shown
}

func describeWaiting(w volume.Waiting) api.Waiting {
	shown := api.Waiting{Work: string(w.Work), Error: w.Error, Since: w.Since.UTC()}
	if !w.Next.IsZero() {
		shown.Next = new(w.Next.UTC())
	}
	return shown
}

func describeTakeover(t *volume.Takeover) *api.Takeover {
	if t == nil {
		return nil
	}
	return &api.Takeover{Time: t.Time, Gateway: t.Gateway, Host: t.Host, Renewed: t.Renewed, Queued: t.Queued}
}

func describeSession(s target.SessionInfo) api.Session {
	return api.Session{
		Initiator: s.Initiator, Remote: s.Remote, Since: s.Since.UTC(), CHAPUser: s.User, Mutual: s.Mutual,
		Commands: s.Commands, Received: s.BytesReceived, Sent: s.BytesSent,
	}
}

// allocatedTime bounds the walk through the map of a volume, which may be on disk or even
// only in the bucket.
const allocatedTime = 500 * time.Millisecond

// allocated returns how many bytes of a volume occupy space, or nil if it cannot be told soon.
func allocated(ctx context.Context, vol servedVolume) *int64 {
	ctx, cancel := context.WithTimeout(ctx, allocatedTime)
	defer cancel()
	var sum int64
	for off, size := int64(0), vol.Size(); off < size; {
		mapped, n, err := vol.Mapped(ctx, off)
		if err != nil || n <= 0 || ctx.Err() != nil {
			return nil
		}
		n = min(n, size-off)
		if mapped {
			sum += n
		}
		off += n
	}
	return &sum
}

// loopbackText tells whether the text of an address and port is of the loopback.
func loopbackText(remote string) bool {
	host, _, err := net.SplitHostPort(remote)
	return err == nil && net.ParseIP(host).IsLoopback()
}

// reachable returns an address that initiators can use for a portal that listens on listen:
// for one that listens everywhere, the first address of this machine that is not local.
func reachable(listen net.Addr) string {
	tcp, ok := listen.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return listen.String()
	}
	host := net.IPv4(127, 0, 0, 1)
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		addresses = nil // the loopback is true, too
	}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() && n.IP.To4() != nil {
			host = n.IP
			break
		}
	}
	return net.JoinHostPort(host.String(), fmt.Sprint(tcp.Port))
}
