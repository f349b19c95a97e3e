package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"sluice/appliance/api"
)

func newVolume(c *client) *cobra.Command {
	return group("volume", "Create, show, change and delete volumes",
		newVolumeCreate(c), newVolumeList(c), newVolumeShow(c), newVolumeResize(c), newVolumeDelete(c), newVolumeAttach(c), newVolumeDetach(c), newVolumeClone(c), newRecoveryPoints(c), newVolumeDurability(c),
		newVolumeImport(c), newVolumeExport(c), newVolumeScrub(c))
}

// printVolume prints everything about a volume.
func printVolume(w io.Writer, v *api.Volume) {
	pairs := []string{
		"name", v.Name, "id", v.ID, "state", string(v.State), "mode", v.Mode, "size", api.Size(v.Size).String(),
	}
	add := func(name, value string) { pairs = append(pairs, name, value) }
	if v.Error != "" {
		add("error", v.Error)
	}
	if v.Origin != nil {
		add("clone of", describeOrigin(v.Origin))
	}
	if v.Path != "" {
		add("data", v.Path)
		add("changed", about(v.Changed)+" since the last snapshot")
	}
	if v.Missing > 0 {
		add("not fetched yet", about(v.Missing))
	}
	if v.Allocated != nil {
		add("allocated", about(*v.Allocated))
	}
	if sp := v.Space; sp != nil {
		add("in the bucket", fmt.Sprintf("%s live before compression, at least %s of it shared with others; about %s to be collected", about(sp.Live), about(sp.Shared), about(sp.Dead)))
	}
	if v.State == api.StateAttached && v.Path == "" {
		add("not uploaded", fmt.Sprintf("%s in %d segments", about(v.Queued), v.QueuedSegments))
	}
	if v.Durability != "" {
		add("durability", v.Durability+": "+describeDurability(v))
	}
	if v.Import != nil {
		add("import", "unfinished, "+about(*v.Import)+" done: no initiator is let in before it is")
	}
	for _, w := range v.Waiting {
		add("waiting", describeWaiting(w))
	}
	if v.UploadError != "" && len(v.Waiting) == 0 {
		add("upload error", v.UploadError)
	}
	if v.Owner != nil {
		add("served by", fmt.Sprintf("gateway %s on %s, last heard of %s ago", v.Owner.Gateway, v.Owner.Host, ago(v.Owner.Renewed)))
	}
	if l := v.Lease; l != nil {
		held := "held"
		if !l.Held {
			held = "run out: I/O waits until it is renewed"
		}
		add("lease", fmt.Sprintf("%g s, for standbys of group %s, %s", l.Term, l.Group, held))
	}
	if t := v.Takeover; t != nil {
		add("taken over", fmt.Sprintf("%s from %s, which had last been heard of at %s and not uploaded %s then: that is missing",
			localTime(t.Time), t.Host, localTime(t.Renewed), about(t.Queued)))
	}
	add("epoch", strconv.FormatUint(v.Epoch, 10))
	if n := v.Counters; n != nil {
		add("read", fmt.Sprintf("%s in %d operations", about(n.ReadBytes), n.ReadOps))
		add("written", fmt.Sprintf("%s in %d operations, %d flushes", about(n.WriteBytes), n.WriteOps, n.Flushes))
		add("uploaded", fmt.Sprintf("%s in %d segments", about(n.UploadedBytes), n.UploadedSegments))
		if n.ChecksumErrors > 0 {
			add("checksum errors", strconv.FormatInt(n.ChecksumErrors, 10))
		}
	}
	add("IQN", v.IQN)
	add("LUN", strconv.Itoa(v.LUN))
	add("portal", v.Portal)
	add("access", describeAccess(v.Access))
	fields(w, pairs...)
	if len(v.Sessions) > 0 {
		fmt.Fprintln(w)
		printSessions(w, v.Sessions)
	}
}

func describeOrigin(o *api.Origin) string {
	if o.Snapshot != "" {
		return fmt.Sprintf("%s, snapshot %s of %s", o.Volume, o.Snapshot, localTime(o.Time))
	}
	return fmt.Sprintf("%s as it was at %s", o.Volume, localTime(o.Time))
}

func describeAccess(a *api.Access) string {
	var parts []string
	if a != nil && len(a.Initiators) > 0 {
		parts = append(parts, "only "+strings.Join(a.Initiators, ", "))
	}
	if a != nil && len(a.CHAP) > 0 {
		var names []string
		for _, c := range a.CHAP {
			names = append(names, c.Initiator)
		}
		parts = append(parts, "CHAP for "+strings.Join(names, ", "))
	}
	if len(parts) == 0 {
		return "initiators on the gateway's own machine only (see sluice initiator, sluice chap)"
	}
	return strings.Join(parts, "; ")
}

func printSessions(w io.Writer, sessions []api.Session) {
	t := newTable(w, "initiator", "from", "since", "CHAP user", "commands", "received", "sent")
	for _, s := range sessions {
		t.AppendRow([]any{s.Initiator, s.Remote, ago(s.Since) + " ago", s.CHAPUser, s.Commands, about(int64(s.Received)), about(int64(s.Sent))})
	}
	t.Render()
}
