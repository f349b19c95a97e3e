package stored

import (
	"sync"
	"testing"

	"github.com/google/uuid"
)

// TestSyncTogether has two syncs of the same data run at once, as a flush and the end of the background fill do: when either returns,
// all chunks that came before it are noted as being here, or a loss of power would take what was written to them.
func TestSyncTogether(t *testing.T) {
	const chunks = 1 << 12
	dir, id := t.TempDir(), uuid.New()
	data, err := openData(dir+"/data", true)
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	saved, err := openBits(dir+"/present", id, chunks, true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = saved.close() }()
	v := &Volume{data: data}
	v.size.Store(chunks * ChunkSize)
	p := newPresence(v, saved)
	var both sync.WaitGroup
	for chunk := range int64(chunks) {
		p.add(chunk)
		for range 2 {
			both.Go(func() {
				if err := p.sync(); err != nil {
					t.Error(err)
				} else if !saved.has(chunk) {
					t.Errorf("chunk %d was synced and is not noted", chunk)
				}
			})
		}
		both.Wait()
		if t.Failed() {
			return
		}
	}
}
