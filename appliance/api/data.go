package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"
)

// MaxTransfer is the greatest number of bytes that one request reads or writes.
const MaxTransfer = 8 << 20

// DataUnit is what offsets and lengths of data are multiples of: a block of a volume, in bytes.
const DataUnit = 4096

// Content moves the bytes of a volume that is attached, in bulk. An initiator that is logged in
// does not learn that the disk under it changes, so a volume is written only by who holds it.
type Content interface {
	// HoldVolume keeps initiators and other operations away from a volume while use runs, and returns its error. The context
	// that use gets ends early if the hold does.
	HoldVolume(ctx context.Context, volume string, req HoldRequest, use func(context.Context, Hold) error) error
	// ReadVolume fills p from offset off. Initiators and caches beside the gateway may have newer data.
	ReadVolume(ctx context.Context, volume string, p []byte, off int64) error
	// VolumeExtents lists what occupies space from off to off+n.
	VolumeExtents(ctx context.Context, volume string, off, n int64) ([]Extent, error)
	// WriteVolume writes p at off. Runs of zeros in it are unmapped, not written.
	WriteVolume(ctx context.Context, volume, hold string, p []byte, off int64) error
	// ZeroVolume unmaps n bytes from off on: they read as zeros.
	ZeroVolume(ctx context.Context, volume, hold string, off, n int64) error
	// MarkVolume makes what was written durable, and notes how far the import of the hold's image is.
	MarkVolume(ctx context.Context, volume, hold string, mark Mark) error
}

// Moments reads volumes as they were at one moment.
type Moments interface {
	// KeepMoment takes a snapshot of a volume, that is deleted again when use has run, and returns its error. It is complete
	// when use begins.
	KeepMoment(ctx context.Context, volume string, use func(context.Context, Snapshot) error) error
	// ReadSnapshot fills p from offset off.
	ReadSnapshot(ctx context.Context, id string, p []byte, off int64) error
	// SnapshotExtents lists what occupies space from off to off+n.
	SnapshotExtents(ctx context.Context, id string, off, n int64) ([]Extent, error)
}

// HoldRequest asks for a volume for oneself.
type HoldRequest struct {
	Force  bool   `json:"force,omitempty"`  // also while initiators are logged in: what they have cached is wrong from then on
	Image  string `json:"image,omitempty"`  // identity of the image to be imported
	Resume bool   `json:"resume,omitempty"` // go on where the last import of that image ended
}

// Hold is a volume that one client has for itself. It ends with the request that it is the answer to.
type Hold struct {
	Token string `json:"hold"` // to be shown with each write
	Size  int64  `json:"size_bytes"`
	Mark         // where to resume; zero: from the beginning
}

// Mark says how far an import is.
type Mark struct {
	Done     int64  `json:"done_bytes"`         // of the image, from its beginning
	State    []byte `json:"state,omitempty"`    // what the client needs to go on, up to 4 KiB
	Finished bool   `json:"finished,omitempty"` // nothing is left: initiators may use the volume
}

// Extent is a range of bytes that occupies space.
type Extent struct {
	Offset int64 `json:"offset"`
	Length int64 `json:"length"`
}

// ExtentList is the answer to a request for extents. There may be more behind Next: ask again from there.
type ExtentList struct {
	Extents []Extent `json:"extents"`
	Next    int64    `json:"next"` // bytes; the end of the range that was asked for, if that is all
}

// MaxExtents bounds one answer. A backend may leave out what is behind that many and one.
const MaxExtents = 4096

const (
	transferTime = 5 * time.Minute // for a range of data; it may wait for the upload buffer, or the object store
	sendTime     = 2 * time.Minute // for a body to arrive, or to be taken
	transfers    = 32              // ranges of data in memory at once
)

// dataRoute is a route whose request or answer is not one JSON document.
type dataRoute struct {
	pattern string
	serve   func(http.ResponseWriter, *http.Request) error
}

// dataHandler has what the data routes share.
type dataHandler struct {
	backend Backend
	slots   chan struct{} // a token for each transfer
}

func dataRoutes(b Backend) []dataRoute {
	h := &dataHandler{backend: b, slots: make(chan struct{}, transfers)}
	return []dataRoute{
		{"POST /v1/volumes/{name}/hold", h.hold},
		{"POST /v1/volumes/{name}/moment", h.moment},
		{"GET /v1/volumes/{name}/data", h.read(func(r *http.Request, p []byte, off int64) error {
			return b.ReadVolume(r.Context(), r.PathValue("name"), p, off)
		})},
		{"PUT /v1/volumes/{name}/data", h.write},
		{"GET /v1/snapshots/{id}/data", h.read(func(r *http.Request, p []byte, off int64) error {
			return b.ReadSnapshot(r.Context(), r.PathValue("id"), p, off)
		})},
	}
}

// extentRoutes are routes of data that are like all others.
func extentRoutes(b Backend) []route {
	return []route{
		{"GET /v1/volumes/{name}/extents", transferTime, extents(func(r *http.Request, off, n int64) ([]Extent, error) {
			return b.VolumeExtents(r.Context(), r.PathValue("name"), off, n)
		})},
		{"GET /v1/snapshots/{id}/extents", transferTime, extents(func(r *http.Request, off, n int64) ([]Extent, error) {
			return b.SnapshotExtents(r.Context(), r.PathValue("id"), off, n)
		})},
		{"POST /v1/volumes/{name}/zero", longTime, func(r *http.Request) (any, error) {
			off, n, err := rangeOf(r)
			if err != nil {
				return nil, err
			}
			return struct{}{}, b.ZeroVolume(r.Context(), r.PathValue("name"), r.URL.Query().Get("hold"), off, n)
		}},
		{"POST /v1/volumes/{name}/mark", transferTime, withBody(func(r *http.Request, mark Mark) (any, error) {
			return struct{}{}, b.MarkVolume(r.Context(), r.PathValue("name"), r.URL.Query().Get("hold"), mark)
		})},
	}
}

// rangeOf reads offset and length from the query.
func rangeOf(r *http.Request) (off, n int64, err error) {
	query := r.URL.Query()
	for key, to := range map[string]*int64{"offset": &off, "length": &n} {
		if *to, err = strconv.ParseInt(query.Get(key), 10, 64); err != nil || *to < 0 || *to%DataUnit != 0 {
			return 0, 0, Errorf(CodeInvalid, "%s=%q is not a number of bytes in blocks of %d", key, query.Get(key), DataUnit)
		}
	}
	if off+n < off {
		return 0, 0, Errorf(CodeInvalid, "offset and length are too large")
	}
	return off, n, nil
}

func extents(list func(r *http.Request, off, n int64) ([]Extent, error)) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		off, n, err := rangeOf(r)
		if err != nil {
			return nil, err
		}
		all, err := list(r, off, n)
		if err != nil {
			return nil, err
		}
		answer := ExtentList{Extents: all, Next: off + n}
		if answer.Extents == nil {
			answer.Extents = []Extent{}
		}
		if len(all) > MaxExtents {
			answer.Extents, answer.Next = all[:MaxExtents], all[MaxExtents].Offset
		}
		return answer, nil
	}
}

// take waits for room for one transfer.
func (h *dataHandler) take(ctx context.Context) (release func(), err error) {
	select {
	case h.slots <- struct{}{}:
		return func() { <-h.slots }, nil
	case <-ctx.Done():
		return nil, Errorf(CodeUnavailable, "too many transfers at once: %w", ctx.Err())
	}
}

func (h *dataHandler) read(fill func(r *http.Request, p []byte, off int64) error) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		off, n, err := rangeOf(r)
		if err != nil {
			return err
		}
		if n > MaxTransfer {
			return Errorf(CodeInvalid, "length=%d: at most %d bytes are read at once", n, MaxTransfer)
		}
		ctx, cancel := context.WithTimeout(r.Context(), transferTime)
		defer cancel()
		release, err := h.take(ctx)
		if err != nil {
			return err
		}
		defer release()
		p := make([]byte, n)
		if err := fill(r.WithContext(ctx), p, off); err != nil {
			return err
		}
		control := http.NewResponseController(w)
		if err := ignoreUnsupported(control.SetWriteDeadline(time.Now().Add(sendTime))); err != nil {
			return err
		}
		defer func() { _ = control.SetWriteDeadline(time.Time{}) }() // the connection serves other requests afterwards
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write(p) // the client may be gone
		return nil
	}
}

func (h *dataHandler) write(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	off, err := strconv.ParseInt(query.Get("offset"), 10, 64)
	if err != nil || off < 0 || off%DataUnit != 0 || r.ContentLength <= 0 || r.ContentLength%DataUnit != 0 || r.ContentLength > MaxTransfer {
		return Errorf(CodeInvalid, "offset=%q and %d bytes are not a range in blocks of %d, of at most %d bytes",
			query.Get("offset"), r.ContentLength, DataUnit, MaxTransfer)
	}
	ctx, cancel := context.WithTimeout(r.Context(), transferTime)
	defer cancel()
	release, err := h.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	p := make([]byte, r.ContentLength)
	if _, err := io.ReadFull(r.Body, p); err != nil {
		return Errorf(CodeInvalid, "the data ends early: %w", err)
	}
	if err := h.backend.WriteVolume(ctx, r.PathValue("name"), query.Get("hold"), p, off); err != nil {
		return err
	}
	reply(w, http.StatusOK, struct{}{})
	return nil
}

func (h *dataHandler) hold(w http.ResponseWriter, r *http.Request) error {
	decoded, err := withBody(func(_ *http.Request, body HoldRequest) (any, error) { return body, nil })(r)
	if err != nil {
		return err
	}
	req, _ := decoded.(HoldRequest)
	return keep(w, r, func(use func(context.Context, any) error) error {
		return h.backend.HoldVolume(r.Context(), r.PathValue("name"), req, func(ctx context.Context, hold Hold) error { return use(ctx, hold) })
	})
}

func (h *dataHandler) moment(w http.ResponseWriter, r *http.Request) error {
	return keep(w, r, func(use func(context.Context, any) error) error {
		return h.backend.KeepMoment(r.Context(), r.PathValue("name"), func(ctx context.Context, s Snapshot) error { return use(ctx, s) })
	})
}

// keep answers with one line of JSON as soon as there is something to be used, and keeps it until the client ends
// the request.
func keep(w http.ResponseWriter, r *http.Request, begin func(use func(context.Context, any) error) error) error {
	answered := false
	err := begin(func(ctx context.Context, answer any) error {
		line, err := json.Marshal(answer)
		if err != nil {
			return fmt.Errorf("encoding the answer: %w", err)
		}
		answered = true
		w.Header().Set("Content-Type", "application/x-ndjson")
		w.Header().Set("Cache-Control", "no-store")
		if _, err := w.Write(append(line, '\n')); err != nil {
			return fmt.Errorf("answering: %w", err)
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			return fmt.Errorf("answering: %w", err)
		}
		select {
		case <-r.Context().Done(): // that is how it ends
		case <-ctx.Done():
		}
		return nil
	})
	if answered {
		return nil
	}
	return err
}

// serveData makes a data route a handler.
func serveData(route dataRoute, logger *slog.Logger) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var err error
		if r.Method == http.MethodPut { // the server's own time limit is meant for short bodies
			err = ignoreUnsupported(http.NewResponseController(w).SetReadDeadline(time.Now().Add(sendTime)))
		}
		r.Body = http.MaxBytesReader(w, r.Body, MaxTransfer)
		if err == nil {
			err = route.serve(w, r)
		}
		if err != nil {
			fail(w, r, err, logger)
		}
	}
}

// ignoreUnsupported is for time limits: where there can be none, it is not worse than without.
func ignoreUnsupported(err error) error {
	if err == nil || errors.Is(err, http.ErrNotSupported) {
		return nil
	}
	return fmt.Errorf("setting a time limit: %w", err)
}
