package scrub_test

import (
	"log/slog"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"sluice/cache"
	"sluice/object"
	"sluice/scrub"
	"sluice/snapshot"
	"sluice/volume/segment"
	"sluice/volume/verify"
)

func (s *scene) scrub(store object.Store, c *cache.Cache, change ...func(*scrub.Options)) *scrub.Report {
	s.t.Helper()
	opts := scrub.Options{Store: store, Cache: c, Published: func(uuid.UUID) segment.ID { return s.replayed }, Logger: slog.New(slog.DiscardHandler)}
	for _, f := range change {
		f(&opts)
	}
	rep, err := scrub.Run(s.t.Context(), opts)
	s.check(err)
	return rep
}

// lossOf returns the blocks that are reported as lost of moments of a kind.
func lossOf(rep *scrub.Report, kind scrub.Kind) map[int64]bool {
	out := map[int64]bool{}
	for _, l := range rep.Losses {
		if l.Kind == kind {
			maps.Copy(out, blocksOf(l.Ranges))
		}
	}
	return out
}

// TestGood shows what is said of a bucket in which nothing is wrong.
func TestGood(t *testing.T) {
	s := newScene(t)
	progress := new(verify.Progress)
	rep := s.scrub(s.store, nil, func(o *scrub.Options) { o.Progress, o.Orphans = progress, true })
	want := &scrub.Report{Volumes: 1, Points: 0, Snapshots: 1, Objects: rep.Objects, Bytes: rep.Bytes, Blocks: 165, Orphans: rep.Orphans, OrphanBytes: rep.OrphanBytes}
	if diff := cmp.Diff(want, rep); diff != "" || !rep.OK() || rep.Objects != 3 || rep.Bytes < 230*block/2 {
		t.Errorf("%d objects: %s", rep.Objects, diff)
	}
	if done, total := progress.Bytes(); done != total || total < 165*block {
		t.Errorf("progress ended at %d of %d", done, total)
	}
	if quick := s.scrub(s.store, nil, func(o *scrub.Options) { o.Quick = true }); !quick.OK() || quick.Bytes >= rep.Bytes {
		t.Errorf("quick: %+v", quick)
	}
}

// damages are ways of spoiling the object of a segment.
func damages(s *scene, id segment.ID) map[string]func([]byte) []byte {
	h, err := segment.ParseHeader(s.body(id.Key()))
	s.check(err)
	other := s.named
	if id == other {
		other = s.replayed
	}
	return map[string]func([]byte) []byte{
		"missing":        func([]byte) []byte { return nil },
		"empty":          func([]byte) []byte { return []byte{} },
		"truncated":      func(b []byte) []byte { return b[:h.Frame(2).Offset+7] },
		"header flipped": func(b []byte) []byte { b[70] ^= 4; return b },
		"frame 1 flipped": func(b []byte) []byte {
			b[h.Frame(1).Offset+100] ^= 4
			return b
		},
		"frame 3 flipped": func(b []byte) []byte {
			b[h.Frame(3).Offset+100] ^= 4
			return b
		},
		"another's": func([]byte) []byte { return s.body(other.Key()) },
	}
}

const cached = 3 * segment.FrameBlocks // slots of each segment that a partial copy has

// TestDamage spoils a segment in each way, with each kind of local copy, and compares what the report says with what can be read from
// the bucket alone afterwards.
func TestDamage(t *testing.T) {
	t.Run("no past", func(t *testing.T) { testDamage(t, newScene(t)) })
	t.Run("past", func(t *testing.T) { testDamage(t, newPastScene(t, time.Hour)) })
}

func testDamage(t *testing.T, s *scene) {
	_, partial := newCache(t, s.store)
	for _, id := range []segment.ID{s.named, s.replayed} {
		s.check(partial.Read(t.Context(), id, 0, make([]byte, cached*block), true))
	}
	_, none := newCache(t, s.store)
	copies := map[string]*cache.Cache{"whole": s.cache, "partial": partial, "none": none}
	for which, id := range map[string]segment.ID{"named": s.named, "replayed": s.replayed} {
		for how, spoil := range damages(s, id) {
			for kind, local := range copies {
				t.Run(strings.Join([]string{which, how, kind}, "/"), func(t *testing.T) {
					s := *s
					s.t = t
					body := s.body(id.Key())
					defer s.put(id.Key(), body)
					s.put(id.Key(), spoil(s.body(id.Key())))
					rep := s.scrub(s.store, local)
					s.judge(rep, id)
					inReach := how == "frame 1 flipped" // which the partial copy has
					repaired := kind == "whole" || kind == "partial" && inReach
					if rep.OK() != repaired || (len(rep.Repaired) == 1) != repaired {
						t.Errorf("%+v", rep)
					}
					if lost := lossOf(rep, scrub.Snapshot); kind == "partial" && which == "named" && (how == "missing" || how == "another's") && len(lost) != 160-cached {
						t.Errorf("%d blocks are lost", len(lost))
					}
					again := s.scrub(s.store, none)
					if again.OK() != repaired {
						t.Errorf("again: %+v", again)
					}
				})
			}
		}
	}
}

// judge compares a report on one damaged segment with what can be read.
func (s *scene) judge(rep *scrub.Report, id segment.ID) {
	s.t.Helper()
	lost := lossOf(rep, scrub.Snapshot)
	if unreadable := s.unreadable(); !maps.Equal(lost, unreadable) {
		s.t.Errorf("lost and reported (-), unreadable (+): %s", cmp.Diff(lost, unreadable))
	}
	if !maps.Equal(lost, lossOf(rep, scrub.Newest)) {
		s.t.Error("the snapshot and the volume have the same root, and do not lose the same")
	}
	for _, o := range rep.Damaged {
		if o.Key != id.Key() || o.Reason == "" {
			s.t.Errorf("%+v", o)
		}
		if id == s.replayed && !strings.Contains(strings.Join(o.Effects, " "), "volume demo cannot be opened with") {
			s.t.Errorf("nothing is said of the volume: %+v", o)
		}
	}
	if rep.OK() && len(lost) > 0 {
		s.t.Error("all is well, and something is lost")
	}
	if replays := id == s.replayed; replays && s.openable() != rep.OK() {
		s.t.Errorf("the volume can be opened and read: %v", !rep.OK())
	}
}

// openable tells whether a copy of the bucket opens as what the volume was.
func (s *scene) openable() bool {
	other := *s
	other.store = s.clone()
	return other.replays()
}

// TestDeletedMeanwhile deletes the snapshot, the volume and their segments while they are being read. None of that is damage.
func TestDeletedMeanwhile(t *testing.T) {
	for n := range 12 {
		s := newScene(t)
		var deleting bool
		store := object.Fault(s.store, func(c object.Call) object.Outcome {
			if c.Op == object.OpGetRange && c.N == n && !deleting {
				deleting = true
				for _, key := range []string{"names/demo.json", "volumes/" + s.head.ID.String() + "/head.json", "snapshots/" + s.snap.ID.String() + ".json", s.named.Key(), s.replayed.Key(), s.snap.Root.Key} {
					s.put(key, nil)
				}
			}
			return object.Outcome{}
		})
		if rep := s.scrub(store, nil, func(o *scrub.Options) { o.Orphans = true }); !rep.OK() {
			t.Errorf("at read %d: %+v", n, rep)
		}
	}
}

// TestFaults fails one call after the other of a scrub that repairs something: it is an error, or what is said is true.
func TestFaults(t *testing.T) {
	s := newScene(t)
	for _, op := range []object.Op{object.OpGetRange, object.OpList, object.OpStat, object.OpPutIf} {
		for n := 0; ; n++ {
			body := s.body(s.named.Key())
			s.put(s.named.Key(), nil)
			met := false
			store := object.Fault(s.store, func(c object.Call) object.Outcome {
				if c.Op == op && c.N == n {
					met = true
					return object.Outcome{Err: &object.Error{Op: op, Key: c.Key, Err: object.ErrInjected, Transient: true}}
				}
				return object.Outcome{}
			})
			rep, err := scrub.Run(t.Context(), scrub.Options{Store: store, Cache: s.cache, Logger: slog.New(slog.DiscardHandler)})
			if err == nil {
				s.judge(rep, s.named)
				if op == object.OpPutIf && met && (rep.OK() || !strings.Contains(rep.Damaged[0].Reason, "could not be repaired")) {
					t.Errorf("PUT failed: %+v", rep)
				}
			} else if rep != nil || !met {
				t.Errorf("%s %d: %v", op, n, err)
			}
			s.put(s.named.Key(), body)
			if !met {
				break
			}
		}
	}
}

// TestLocalCopies spoils a block of a local copy: it is dropped, and fetched again.
func TestLocalCopies(t *testing.T) {
	s := newScene(t)
	local := s.cache.Acquire(s.named)
	_, err := local.File.WriteAt([]byte("spoilt"), segment.SlotOffset(7))
	s.check(err)
	local.Release()
	rep := s.scrub(s.store, s.cache)
	if !rep.OK() || rep.LocalDropped != 1 {
		t.Errorf("%+v", rep)
	}
	p := make([]byte, block)
	s.check(s.cache.Read(t.Context(), s.named, 7, p, true))
	if string(p) != string(s.then[7*block:8*block]) {
		t.Error("the block is still wrong")
	}
	if rep := s.scrub(s.store, s.cache); rep.LocalDropped != 0 {
		t.Errorf("again: %+v", rep)
	}
}

// TestBothDamaged spoils a block in the bucket and in the local copy: it is lost, its neighbours in the frame are not.
func TestBothDamaged(t *testing.T) {
	s := newScene(t)
	s.put(s.named.Key(), damages(s, s.named)["frame 1 flipped"](s.body(s.named.Key())))
	local := s.cache.Acquire(s.named)
	_, err := local.File.WriteAt([]byte("spoilt"), segment.SlotOffset(20))
	s.check(err)
	local.Release()
	rep := s.scrub(s.store, s.cache)
	s.judge(rep, s.named)
	if lost := lossOf(rep, scrub.Snapshot); !maps.Equal(lost, map[int64]bool{20: true}) || rep.OK() || len(rep.Repaired) != 0 {
		t.Errorf("%v: %+v", lost, rep)
	}
}

// TestRecords spoils what is not data: each has its line, and the rest is looked at all the same.
func TestRecords(t *testing.T) {
	s := newScene(t)
	head, snap := "volumes/"+s.head.ID.String()+"/head.json", "snapshots/"+s.snap.ID.String()+".json"
	for name, test := range map[string]struct {
		key    string
		body   []byte
		effect string
	}{
		"name without head": {head, nil, "volume demo cannot be opened"},
		"head":              {head, []byte("{"), "cannot be opened"},
		"snapshot":          {snap, []byte("{}"), "the snapshot is lost"},
		"schedule":          {"schedules/" + s.head.ID.String() + ".json", []byte("1"), "no longer made"},
		"writers missing":   {"writers.json", nil, "no volume may be opened"},
		"writers behind":    {"writers.json", []byte(`{"last":0}`), "no volume may be opened"},
		"root":              {s.snap.Root.Key, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := *s
			s.t = t
			s.store = s.clone()
			s.put(test.key, test.body)
			rep := s.scrub(s.store, nil, func(o *scrub.Options) { o.Orphans = true })
			if rep.OK() || !strings.Contains(strings.Join(rep.Damaged[0].Effects, " "), test.effect) {
				t.Errorf("%+v", rep)
			}
			if name == "root" && len(lossOf(rep, scrub.Snapshot)) != size/block {
				t.Errorf("%+v", rep.Losses)
			}
		})
	}
}

// TestNewer puts what a later version may write in the place of each record: the scrub stops, and says so.
func TestNewer(t *testing.T) {
	s := newScene(t)
	for _, key := range []string{
		"format.json", "volumes/" + s.head.ID.String() + "/head.json", "snapshots/" + s.snap.ID.String() + ".json",
	} {
		s := *s
		s.store = s.clone()
		s.put(key, []byte(`{"format": 1000}`))
		_, err := scrub.Run(t.Context(), scrub.Options{Store: s.store, Logger: slog.New(slog.DiscardHandler)})
		if err == nil || !strings.Contains(err.Error(), "use a newer sluice") {
			t.Errorf("%s: %v", key, err)
		}
	}
	newer := s.body(s.named.Key())
	newer[8] = segment.ObjectVersion + 1
	s.put(s.named.Key(), newer)
	rep := s.scrub(s.store, s.cache)
	if rep.OK() || !strings.Contains(rep.Damaged[0].Reason, "newer program") || string(s.body(s.named.Key())) != string(newer) {
		t.Errorf("a segment of a newer format: %+v", rep)
	}
}

// TestOrphans counts what nothing refers to, and nothing else.
func TestOrphans(t *testing.T) {
	s := newScene(t)
	before := s.scrub(s.store, nil, func(o *scrub.Options) { o.Orphans = true })
	s.put(segment.NewID(1<<20, 1).Key(), make([]byte, 100))
	s.put("writers.json", []byte(`{"last":1048576}`))
	s.put("volumes/"+s.head.ID.String()+"/roots/000001-77-abc", make([]byte, 10))
	s.put((s.replayed + 2).Key(), make([]byte, 1000)) // of the attachment that lasts
	rep := s.scrub(s.store, nil, func(o *scrub.Options) { o.Orphans = true })
	if !rep.OK() || rep.Orphans != before.Orphans+2 || rep.OrphanBytes != before.OrphanBytes+110 {
		t.Errorf("%+v", rep)
	}
	s.check(snapshot.NewCatalogue(s.store).Delete(t.Context(), s.snap.ID))
	if again := s.scrub(s.store, nil, func(o *scrub.Options) { o.Orphans = true }); again.Orphans != rep.Orphans || again.Snapshots != 0 {
		t.Errorf("%+v", again)
	}
}

// TestOneVolume looks at a volume and its snapshots only.
func TestOneVolume(t *testing.T) {
	s := newScene(t)
	s.put("snapshots/00000000-0000-0000-0000-000000000001.json", []byte("{"))
	one := s.scrub(s.store, nil, func(o *scrub.Options) { o.Volume = "demo" })
	if !one.OK() || one.Volumes != 1 || one.Snapshots != 1 {
		t.Errorf("%+v", one)
	}
	if all := s.scrub(s.store, nil); all.OK() {
		t.Errorf("%+v", all)
	}
}
