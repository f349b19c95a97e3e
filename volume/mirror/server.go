package mirror

import (
	"errors"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/google/uuid"

	"sluice/volume/segment"
)

// maxBody bounds a request: a sender makes as many as it needs.
const maxBody = 16 << 20

// Handler serves a Store to peers.
func Handler(s *Store, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/mirror/{volume}/{epoch}", func(w http.ResponseWriter, r *http.Request) {
		volume, err := uuid.Parse(r.PathValue("volume"))
		epoch, eerr := strconv.ParseUint(r.PathValue("epoch"), 10, 64)
		published, perr := strconv.ParseUint(r.URL.Query().Get("published"), 16, 64)
		if err = errors.Join(err, eerr, perr); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		err = s.Append(volume, epoch, segment.ID(published), r.URL.Query().Has("whole"), http.MaxBytesReader(w, r.Body, maxBody))
		if err == nil {
			return
		}
		status := http.StatusInternalServerError
		switch {
		case errors.Is(err, errMalformed):
			status = http.StatusBadRequest
		case errors.Is(err, ErrFenced):
			status = http.StatusConflict
		case errors.Is(err, ErrNoRoom):
			status = http.StatusInsufficientStorage
		}
		log.Warn("a peer's data could not be mirrored", "volume", volume, "epoch", epoch, "from", r.RemoteAddr, "error", err)
		http.Error(w, err.Error(), status)
	})
	return mux
}
