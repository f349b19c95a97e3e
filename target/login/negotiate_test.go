package login

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// outcome offers keys in the operational stage, and returns the answers and the result.
func outcome(t rapid.TB, cfg Config, session string, offers ...Pair) (map[string]string, Params) {
	t.Helper()
	l := dial(cfg)
	req, data := l.request("1>3 " + session)
	a, err := l.m.Step(&req, AppendText(data, offers...))
	if err != nil || !a.Done {
		t.Fatalf("offering %q: done %v, %v", offers, a.Done, err)
	}
	pairs, err := ParseText(a.Data)
	if err != nil {
		t.Fatal(err)
	}
	answers := map[string]string{}
	for _, p := range pairs {
		if _, twice := answers[p.Key]; twice {
			t.Fatalf("%s is answered twice", p.Key)
		}
		answers[p.Key] = p.Value
	}
	return answers, l.m.Params()
}

func smaller(a, b int) int { return min(a, b) }
func larger(a, b int) int  { return max(a, b) }

// The numeric keys of RFC 7143 section 13, written down once more: result function, range,
// our value, default, and where to find the result.
var numeric = []struct {
	key       string
	result    func(a, b int) int
	lo, hi    int
	ours, def int
	discovery bool // has a meaning in a discovery session
	get       func(Params) int
}{
	{"MaxConnections", smaller, 1, 65535, 1, 1, false, func(p Params) int { return p.MaxConnections }},
	{"MaxBurstLength", smaller, 512, 1<<24 - 1, 1000000, 262144, false, func(p Params) int { return p.MaxBurstLength }},
	{"FirstBurstLength", smaller, 512, 1<<24 - 1, 100000, 65536, false, func(p Params) int { return p.FirstBurstLength }},
	{"DefaultTime2Wait", larger, 0, 3600, 0, 2, true, func(p Params) int { return p.DefaultTime2Wait }},
	{"DefaultTime2Retain", smaller, 0, 3600, 0, 20, true, func(p Params) int { return p.DefaultTime2Retain }},
	{"MaxOutstandingR2T", smaller, 1, 65535, 4, 1, false, func(p Params) int { return p.MaxOutstandingR2T }},
	{"ErrorRecoveryLevel", smaller, 0, 2, 0, 0, true, func(p Params) int { return p.ErrorRecoveryLevel }},
	{"iSCSIProtocolLevel", smaller, 0, 31, 2, 1, false, func(p Params) int { return p.ProtocolLevel }},
}

func TestNumericKeys(t *testing.T) {
	cfg := open()
	cfg.MaxBurstLength, cfg.FirstBurstLength, cfg.MaxOutstandingR2T, cfg.ProtocolLevel = 1000000, 100000, 4, 2
	for _, k := range numeric {
		t.Run(k.key, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				v := rapid.OneOf(
					rapid.IntRange(k.lo, k.hi), rapid.IntRange(k.lo, k.lo+9), rapid.IntRange(k.hi-9, k.hi+9),
					rapid.SampledFrom([]int{k.ours - 1, k.ours, k.ours + 1, math.MaxInt64, 1 << 32}), rapid.IntRange(0, 1<<40),
				).Filter(func(v int) bool { return v >= 0 }).Draw(t, "value")
				value := strconv.Itoa(v)
				if rapid.Bool().Draw(t, "hex") {
					value = fmt.Sprintf("%#x", v)
				}
				answers, p := outcome(t, cfg, normal, Pair{k.key, value})

				want, result := valueReject, k.def
				if v >= k.lo && v <= k.hi {
					result = k.result(v, k.ours)
					want = strconv.Itoa(result)
				}
				if k.key == "FirstBurstLength" && v >= k.lo && v <= k.hi {
					result = min(result, p.MaxBurstLength)
				}
				if answers[k.key] != want || k.get(p) != result {
					t.Fatalf("%s=%s: answer %s, want %s; result %d, want %d", k.key, value, answers[k.key], want, k.get(p), result)
				}
			})
			for _, bad := range []string{"", "-1", "+1", "1.5", "0x", "Yes", "1~2", "1,2", " 1", "99999999999999999999", "?"} {
				answers, p := outcome(t, cfg, normal, Pair{k.key, bad})
				if answers[k.key] != valueReject || k.get(p) != k.def {
					t.Errorf("%s=%q: answer %s, result %d", k.key, bad, answers[k.key], k.get(p))
				}
			}
			_, p := outcome(t, cfg, normal)
			if k.get(p) != k.def {
				t.Errorf("unmentioned: %d, want %d", k.get(p), k.def)
			}
			answers, _ := outcome(t, cfg, "SessionType=Discovery InitiatorName="+initiatorName, Pair{k.key, strconv.Itoa(k.lo)})
			if (answers[k.key] != valueIrrelevant) != k.discovery {
				t.Errorf("in a discovery session: %s", answers[k.key])
			}
		})
	}
}

func TestBooleanKeys(t *testing.T) {
	for _, k := range []struct {
		key  string
		r2t  bool // Config.InitialR2T
		yes  bool // the result of Yes
		no   bool
		none bool // the default
		get  func(Params) bool
	}{
		{"InitialR2T", false, true, false, true, func(p Params) bool { return p.InitialR2T }}, // OR
		{"InitialR2T", true, true, true, true, func(p Params) bool { return p.InitialR2T }},
		{"ImmediateData", false, true, false, true, func(p Params) bool { return p.ImmediateData }},            // AND
		{"DataPDUInOrder", false, true, true, true, func(p Params) bool { return p.DataPDUInOrder }},           // OR
		{"DataSequenceInOrder", false, true, true, true, func(p Params) bool { return p.DataSequenceInOrder }}, // OR
	} {
		cfg := open()
		cfg.InitialR2T = k.r2t
		for value, want := range map[string]bool{"Yes": k.yes, "No": k.no} {
			answers, p := outcome(t, cfg, normal, Pair{k.key, value})
			if answers[k.key] != formatBool(want) || k.get(p) != want {
				t.Errorf("%s=%s: answer %s, result %v", k.key, value, answers[k.key], k.get(p))
			}
		}
		for _, bad := range []string{"", "yes", "YES", "1", "Yes,No"} {
			answers, p := outcome(t, cfg, normal, Pair{k.key, bad})
			if answers[k.key] != valueReject || k.get(p) != k.none {
				t.Errorf("%s=%q: answer %s, result %v", k.key, bad, answers[k.key], k.get(p))
			}
		}
		if answers, _ := outcome(t, cfg, "SessionType=Discovery InitiatorName="+initiatorName, Pair{k.key, "Yes"}); answers[k.key] != valueIrrelevant {
			t.Errorf("%s in a discovery session: %s", k.key, answers[k.key])
		}
	}
}

// FirstBurstLength never exceeds MaxBurstLength, whatever the order of the keys, and is
// irrelevant when no unsolicited data can be sent.
func TestFirstBurstLength(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		offers := []Pair{
			{"MaxBurstLength", strconv.Itoa(rapid.IntRange(512, 1<<24-1).Draw(t, "max"))},
			{"FirstBurstLength", strconv.Itoa(rapid.IntRange(512, 1<<24-1).Draw(t, "first"))},
			{"InitialR2T", rapid.SampledFrom([]string{"Yes", "No"}).Draw(t, "r2t")},
			{"ImmediateData", rapid.SampledFrom([]string{"Yes", "No"}).Draw(t, "immediate")},
		}
		offers = rapid.Permutation(offers).Draw(t, "order")
		offers = offers[:rapid.IntRange(1, len(offers)).Draw(t, "some")]
		answers, p := outcome(t, open(), normal, offers...)
		if p.FirstBurstLength > p.MaxBurstLength {
			t.Fatalf("first burst %d, burst %d", p.FirstBurstLength, p.MaxBurstLength)
		}
		first, asked := answers["FirstBurstLength"]
		if asked && (first == valueIrrelevant) != (p.InitialR2T && !p.ImmediateData) {
			t.Fatalf("FirstBurstLength=%s with InitialR2T=%v, ImmediateData=%v", first, p.InitialR2T, p.ImmediateData)
		}
		if asked && first != valueIrrelevant && first != strconv.Itoa(p.FirstBurstLength) {
			t.Fatalf("FirstBurstLength=%s is not the result %d", first, p.FirstBurstLength)
		}
	})
}

func TestDigests(t *testing.T) {
	for _, c := range []struct {
		offer, want string
		on          bool
		refused     string // with RefuseDigests
	}{
		{"None", "None", false, "None"},
		{"CRC32C", "CRC32C", true, "Reject"},
		{"CRC32C,None", "CRC32C", true, "None"},
		{"None,CRC32C", "None", false, "None"},
		{"MD5,CRC32C", "CRC32C", true, "Reject"},
		{"MD5", "Reject", false, "Reject"},
		{"", "Reject", false, "Reject"},
		{"crc32c", "Reject", false, "Reject"},
	} {
		answers, p := outcome(t, open(), normal, Pair{"HeaderDigest", c.offer})
		if answers["HeaderDigest"] != c.want || p.HeaderDigest != c.on || p.DataDigest {
			t.Errorf("HeaderDigest=%s: answer %s, %+v", c.offer, answers["HeaderDigest"], p)
		}
		answers, p = outcome(t, open(), normal, Pair{"DataDigest", c.offer})
		if answers["DataDigest"] != c.want || p.DataDigest != c.on || p.HeaderDigest {
			t.Errorf("DataDigest=%s: answer %s, %+v", c.offer, answers["DataDigest"], p)
		}
		cfg := open()
		cfg.RefuseDigests = true
		if answers, p = outcome(t, cfg, normal, Pair{"DataDigest", c.offer}); answers["DataDigest"] != c.refused || p.DataDigest {
			t.Errorf("DataDigest=%s, refused: answer %s, %v", c.offer, answers["DataDigest"], p.DataDigest)
		}
	}
}

// The remaining keys, and those that are none of RFC 7143's.
func TestOtherKeys(t *testing.T) {
	for _, c := range []struct{ key, value, want string }{
		{"TaskReporting", "RFC3720", "RFC3720"},
		{"TaskReporting", "FastAbort,ResponseFence,RFC3720", "RFC3720"},
		{"TaskReporting", "FastAbort", "Reject"},
		{"IFMarker", "Yes", "No"},
		{"OFMarker", "No", "No"},
		{"IFMarkInt", "2048~8192", "Reject"},
		{"OFMarkInt", "2048", "Reject"},
		{"X-com.example.key", "1", "NotUnderstood"},
		{"X#Unregistered", "1", "NotUnderstood"},
		{"X#NodeArchitecture", "Linux", ""}, // a declaration
		{"Y-digest", "1", "NotUnderstood"},
		{"Z-auth", "1", "NotUnderstood"},
		{"RDMAExtensions", "Yes", "NotUnderstood"},
		{"maxburstlength", "512", "NotUnderstood"}, // keys are case-sensitive
		{"MaxRecvDataSegmentLength", "0x200", "262144"},
		{"TargetAlias", "NotUnderstood", ""}, // an answer to what we declared
		{"HeaderDigest", "Reject", ""},
	} {
		answers, _ := outcome(t, open(), normal, Pair{c.key, c.value})
		if answers[c.key] != c.want {
			t.Errorf("%s=%s: answer %q, want %q", c.key, c.value, answers[c.key], c.want)
		}
	}
}

// Whatever is offered together, each key is answered exactly once (declarations aside),
// and the answers are those of each key alone.
func TestEveryOfferIsAnsweredOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.SampledFrom([]string{"Yes", "No", "None", "CRC32C,None", "0", "1", "512", "65536", "0xffffff", "RFC3720", "odd", ""})
		key := rapid.SampledFrom([]string{
			"MaxConnections", "MaxBurstLength", "DefaultTime2Wait", "DefaultTime2Retain",
			"MaxOutstandingR2T", "ErrorRecoveryLevel", "iSCSIProtocolLevel", "InitialR2T", "ImmediateData", "DataPDUInOrder",
			"DataSequenceInOrder", "HeaderDigest", "DataDigest", "TaskReporting", "IFMarker", "OFMarkInt", "X-one", "Z-two",
		})
		var offers []Pair
		for _, k := range rapid.SliceOfNDistinct(key, 0, 18, rapid.ID).Draw(t, "keys") {
			offers = append(offers, Pair{k, value.Draw(t, k)})
		}
		answers, _ := outcome(t, open(), normal, offers...)
		if len(answers) != len(offers)+2 { // and TargetPortalGroupTag, MaxRecvDataSegmentLength
			t.Fatalf("%d answers to %d offers: %v", len(answers), len(offers), answers)
		}
		for _, o := range offers {
			if alone, _ := outcome(t, open(), normal, o); alone[o.Key] != answers[o.Key] {
				t.Fatalf("%s=%s: %s alone, %s together", o.Key, o.Value, alone[o.Key], answers[o.Key])
			}
		}
	})
}

func TestLimitsOfConfig(t *testing.T) {
	cfg := Config{MaxRecvDataSegmentLength: 1, MaxBurstLength: 1, FirstBurstLength: 1 << 30, MaxOutstandingR2T: -5, ProtocolLevel: 9}.withDefaults()
	got := []int{cfg.MaxRecvDataSegmentLength, cfg.MaxBurstLength, cfg.FirstBurstLength, cfg.MaxOutstandingR2T, cfg.ProtocolLevel}
	if want := []int{8192, 262144, 262144, 1, 2}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// In the full feature phase a few keys may still come.
func TestOffer(t *testing.T) {
	p := defaults()
	for _, c := range []struct {
		key, value, want string
		reply, err       bool
	}{
		{"MaxRecvDataSegmentLength", "4096", "", false, false},
		{"MaxRecvDataSegmentLength", "16777216", "", false, true},
		{"InitiatorAlias", "renamed", "", false, false},
		{"X#NodeArchitecture", "Linux", "", false, false},
		{"MaxBurstLength", "512", "Reject", true, false},
		{"InitiatorName", "iqn.x", "Reject", true, false},
		{"AuthMethod", "None", "Reject", true, false},
		{"CHAP_R", "0x00", "Reject", true, false},
		{"X-com.example", "1", "NotUnderstood", true, false},
		{"X-com.example", "NotUnderstood", "", false, false},
	} {
		value, reply, err := p.Offer(Pair{c.key, c.value})
		if value != c.want || reply != c.reply || (err != nil) != c.err {
			t.Errorf("%s=%s: %q, %v, %v", c.key, c.value, value, reply, err)
		}
	}
	want := defaults()
	want.MaxSendDataSegmentLength, want.InitiatorAlias = 4096, "renamed"
	if p != want {
		t.Errorf("%+v", p)
	}
	if strings.Contains(fmt.Sprint(p), "16777216") {
		t.Error("a refused value was taken")
	}
}
