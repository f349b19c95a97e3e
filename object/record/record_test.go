package record_test

import (
	"encoding/json"
	"errors"
	"math"
	"testing"

	"sluice/object/record"
)

type volume struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
}

var demo = volume{"demo", 1 << 30}

// TestGolden shows what a record looks like; one without a checksum, as older programs wrote them, is as good.
func TestGolden(t *testing.T) {
	const golden = "{\n  \"name\": \"demo\",\n  \"size\": 1073741824,\n  \"crc32c\": \"8947ed4c\"\n}\n"
	body, err := record.Encode(demo)
	if err != nil || string(body) != golden {
		t.Errorf("%s, %v", body, err)
	}
	for _, text := range []string{golden, `{"name":"demo","size":1073741824}`} {
		var got volume
		if err := record.Decode([]byte(text), &got); err != nil || got != demo {
			t.Errorf("%s is %+v, %v", text, got, err)
		}
	}
}

// TestDamage changes each bit of a record, and takes bytes from its end: what is decoded is what was written, or there is an error.
func TestDamage(t *testing.T) {
	good, err := record.Encode(demo)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for bit := range 8 * len(good) {
		body := append([]byte(nil), good...)
		body[bit/8] ^= 1 << (bit % 8)
		var got volume
		switch err := record.Decode(body, &got); {
		case errors.Is(err, record.ErrSum):
			found++
		case err == nil && got != demo:
			t.Errorf("%s is %+v", body, got)
		}
	}
	if found < 8*len(`{"name":"demo","size":1073741824}`) {
		t.Errorf("only %d changes were found out by the checksum", found)
	}
	for n := range good {
		var got volume
		if err := record.Decode(good[:n], &got); err == nil && got != demo {
			t.Errorf("%s is %+v", good[:n], got)
		}
	}
}

// TestUnfit encodes what no record can be made of.
func TestUnfit(t *testing.T) {
	for _, v := range []any{struct{}{}, 7, math.NaN(), nil} {
		if body, err := record.Encode(v); err == nil {
			t.Errorf("%v is %s", v, body)
		}
	}
}

// FuzzDecode reads anything as json.Unmarshal would, or refuses it.
func FuzzDecode(f *testing.F) {
	good, err := record.Encode(demo)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"size": 1}`))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, body []byte) {
		var got, want volume
		err, plain := record.Decode(body, &got), json.Unmarshal(body, &want)
		if !errors.Is(err, record.ErrSum) && ((err == nil) != (plain == nil) || got != want) {
			t.Errorf("%+v, %v; without the checksum %+v, %v", got, err, want, plain)
		}
	})
}
