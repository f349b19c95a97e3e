package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"sluice/appliance/api"
)

// output prints answers and failures.
type output struct {
	stdout, stderr io.Writer
	json           bool
	printed        bool // the one document
}

// print prints an answer: as JSON, or for people by text.
func (o *output) print(document any, text func(w io.Writer)) error {
	if !o.json {
		text(o.stdout)
		return nil
	}
	body, err := json.MarshalIndent(document, "", "  ")
	if err != nil {
		return fmt.Errorf("printing the answer: %w", err)
	}
	o.printed = true
	if _, err := o.stdout.Write(append(body, '\n')); err != nil {
		return fmt.Errorf("printing the answer: %w", err)
	}
	return nil
}

// fail prints a failure.
func (o *output) fail(err error) {
	fmt.Fprintf(o.stderr, "sluice: %v\n", err)
	if o.json && !o.printed {
		_ = o.print(document(err), nil) // nowhere is left to say that this failed, too
	}
}

// newTable returns a table without lines, for people and for awk.
func newTable(w io.Writer, columns ...any) table.Writer {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	t.AppendHeader(columns)
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	t.SetStyle(style)
	t.SuppressTrailingSpaces()
	return t
}

// fields prints names and values in two columns.
func fields(w io.Writer, pairs ...string) {
	width := 0
	for i := 0; i < len(pairs); i += 2 {
		width = max(width, len(pairs[i]))
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		fmt.Fprintf(w, "%-*s  %s\n", width, pairs[i], pairs[i+1])
	}
}

// about prints a number of bytes in about three digits.
func about(n int64) string {
	for _, unit := range []struct {
		name string
		size api.Size
	}{{"TiB", api.TiB}, {"GiB", api.GiB}, {"MiB", api.MiB}, {"KiB", api.KiB}} {
		if n >= int64(unit.size) {
			return strconv.FormatFloat(float64(n)/float64(unit.size), 'f', 1, 64) + unit.name
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}

func ago(t time.Time) string { return time.Since(t).Round(time.Second).String() }
