package main

import (
	"testing"
	"time"
)

func TestParseMoment(t *testing.T) {
	zone := time.FixedZone("zone", 2*3600)
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, zone)
	for s, want := range map[string]string{
		"90m":                     "2026-11-23T10:30:00+02:00",
		"-1h":                     "2026-11-23T11:00:00+02:00",
		"2026-11-22T10:00:00Z":    "2026-11-22T12:00:00+02:00",
		"2026-11-22 10:00":        "2026-11-22T10:00:00+02:00",
		"2026-11-22 10:00:01.250": "2026-11-22T10:00:01.25+02:00",
		"2026-11-22":              "2026-11-22T00:00:00+02:00",
		"11:59":                   "2026-11-23T11:59:00+02:00",
		"12:00:01":                "2026-11-22T12:00:01+02:00", // yesterday
		"soon":                    "",
		"":                        "",
		"25:00":                   "",
	} {
		got, err := parseMoment(s, now)
		if want == "" {
			if err == nil {
				t.Errorf("%q: %s", s, got)
			}
			continue
		}
		if err != nil || got.In(zone).Format(time.RFC3339Nano) != want {
			t.Errorf("%q: %s, %v; want %s", s, got, err, want)
		}
	}
}
