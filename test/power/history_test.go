package power

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
)

// value names the content of a unit (see unitOf): the number of the write that made it, and the unit that it was
// first written to, since copies carry it elsewhere. The zero value is zeros.
type value struct {
	Seq   uint64 `json:"s,omitempty"`
	Block uint32 `json:"b,omitempty"`
}

// fill makes the content of a block. Half of them do not compress.
func (v value) fill(p []byte) {
	clear(p)
	if v == (value{}) {
		return
	}
	binary.LittleEndian.PutUint64(p, v.Seq)
	binary.LittleEndian.PutUint32(p[8:], v.Block)
	r := rand.NewPCG(v.Seq, uint64(v.Block))
	for i := 16; i < len(p); i += 8 {
		x := v.Seq
		if v.Seq%2 == 0 {
			x = r.Uint64()
		}
		binary.LittleEndian.PutUint64(p[i:], x)
	}
}

// parse returns what a block holds; it is an error if that was never a block's content.
func parse(p []byte) (value, error) {
	v := value{binary.LittleEndian.Uint64(p), binary.LittleEndian.Uint32(p[8:])}
	want := make([]byte, len(p))
	v.fill(want)
	if string(want) != string(p) {
		return v, fmt.Errorf("it begins like write %d of unit %d and goes on otherwise", v.Seq, v.Block)
	}
	return v, nil
}

// event is what the writer marks in the log.
type event struct {
	Kind string `json:"k"`
	// "write": from now on these blocks, from First on, may hold Values. Seq numbers it.
	Seq    uint64  `json:"seq,omitempty"`
	First  uint32  `json:"first,omitempty"`
	Values []value `json:"v,omitempty"`
	// "durable": all up to write Seq was acknowledged to survive.
	// "state": Values is what the volume shows after a recovery. "seen": the same after the death of a process, whose newest write may be Seq.
	// "put", "delete": of Key in the bucket; the body comes after the event.
	Key string `json:"key,omitempty"`
	// "opened": the volume was closed, and is open again.
	// "done": the writer ended in order. "error": Key says why it did not.
	body []byte
}

func (e event) encode() []byte {
	head, err := json.Marshal(e)
	if err != nil {
		panic(err) // of a struct of strings and numbers
	}
	return append(append(head, 0), e.body...)
}

func decode(mark []byte) (event, error) {
	for i, b := range mark {
		if b == 0 {
			var e event
			err := json.Unmarshal(mark[:i], &e)
			e.body = mark[i+1:]
			return e, err
		}
	}
	return event{}, fmt.Errorf("a mark of %d bytes has no end", len(mark))
}

// history is what each block may hold.
type history struct {
	blocks [][]version
}

// version is a value of a block, and the write that gave it.
type version struct {
	seq uint64
	value
}

func newHistory(units int) *history {
	h := &history{blocks: make([][]version, units)}
	for b := range h.blocks {
		h.blocks[b] = []version{{}}
	}
	return h
}

func (h *history) clone() *history {
	c := &history{blocks: make([][]version, len(h.blocks))}
	for b, versions := range h.blocks {
		c.blocks[b] = slices.Clip(versions)
	}
	return c
}

func (h *history) apply(e event) {
	switch e.Kind {
	case "write":
		for i, v := range e.Values {
			b := int(e.First) + i
			h.blocks[b] = append(h.blocks[b], version{e.Seq, v})
		}
	case "durable":
		for b, versions := range h.blocks {
			for len(versions) > 1 && versions[1].seq <= e.Seq {
				versions = versions[1:]
			}
			h.blocks[b] = versions
		}
	case "seen":
		for b, v := range e.Values {
			h.blocks[b] = append(h.blocks[b], version{e.Seq, v})
		}
	case "state":
		for b, v := range e.Values {
			h.blocks[b] = []version{{0, v}}
		}
	}
}

// check compares a volume's blocks with what they may hold.
func (h *history) check(got []value) error {
	for b, v := range got {
		ok := false
		for _, allowed := range h.blocks[b] {
			ok = ok || allowed.value == v
		}
		if !ok {
			versions := h.blocks[b]
			return fmt.Errorf("unit %d holds %+v: it may hold nothing older than %+v and has %d versions since", b, v, versions[0], len(versions)-1)
		}
	}
	return nil
}
