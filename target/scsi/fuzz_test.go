package scsi

import (
	"encoding/json"
	"testing"
)

// FuzzRegistrations loads what a damaged file may hold. What is believed can be asked for, acted
// upon, and saved again.
func FuzzRegistrations(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"registrants":null}`, `{"type":7,"registrants":[{"port":{"name":"a"},"key":1}]}`,
		`{"aptpl":true,"type":3,"registrants":[{"port":{"name":"a","isid":[1,2,3,4,5,6]},"key":1}],"holder":{"name":"a","isid":[1,2,3,4,5,6]}}`,
		`{"holder":{"name":"b"}}`, `{"type":255}`, `[]`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := parseRegistrations(body)
		if err != nil {
			return
		}
		if r.reserved() && !r.Type.heldByAll() && r.holderKey() == 0 {
			t.Fatalf("%s: a holder without a key", body)
		}
		asking := []initiatorPort{{Name: "a"}}
		for _, x := range r.Registrants {
			asking = append(asking, x.Port)
		}
		for _, p := range asking {
			r.conflicts(p, Writes)
			for action := prRegister; action <= prRegisterAndIgnore; action++ {
				next := r.clone()
				q := prRequest{action: action, port: p, typ: exclusiveAccess, new: 2}
				if me := r.find(p); me != nil {
					q.key = me.Key
				}
				next.apply(&q)
				if err := next.check(); err != nil {
					t.Fatalf("%s, after action %d of %q: %v", body, action, p.Name, err)
				}
			}
		}
		saved, err := json.Marshal(&r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseRegistrations(saved); err != nil {
			t.Fatalf("%s was saved as %s: %v", body, saved, err)
		}
	})
}
