package main

import (
	"strings"
	"testing"
	"time"

	"sluice/appliance/api"
)

func TestDescribeLoss(t *testing.T) {
	at := time.Date(2026, 11, 23, 12, 0, 42, 0, time.UTC)
	said := describeLoss(&api.Takeover{Time: at, Host: "gw1", Renewed: at.Add(-42 * time.Second), Queued: 8 << 20})
	for _, want := range []string{"gw1", "42s before", "8.0MiB were not uploaded"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q does not say %q", said, want)
		}
	}
}
