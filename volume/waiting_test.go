package volume

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// What waits for the bucket is listed while it waits: since when, why, and when it is tried next.
func TestWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w waits
		began := time.Now()
		_, silent := w.begin(t.Context(), WorkRead)
		_, a := w.begin(t.Context(), WorkUpload)
		_, b := w.begin(t.Context(), WorkUpload)
		if got := w.list(); len(got) != 0 {
			t.Errorf("calls that have just begun wait: %+v", got)
		}
		time.Sleep(time.Second)
		a.failed(errors.New("first"), time.Now().Add(4*time.Second))
		time.Sleep(time.Second)
		b.failed(errors.New("other"), time.Now().Add(time.Second))
		a.failed(errors.New("again"), time.Now().Add(8*time.Second))
		want := Waiting{WorkUpload, "again", began.Add(time.Second), began.Add(3 * time.Second)}
		if got := w.list(); len(got) != 1 || got[0] != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		a.end()
		b.end()
		time.Sleep(answerTime)
		want = Waiting{Work: WorkRead, Error: errNoAnswer.Error(), Since: began}
		if got := w.list(); len(got) != 1 || got[0] != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		silent.end()
		if got := w.list(); len(got) != 0 {
			t.Errorf("nothing is under way, and there waits %+v", got)
		}
	})
}
