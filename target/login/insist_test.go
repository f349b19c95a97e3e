package login

import (
	"strings"
	"testing"

	"sluice/target/pdu"
)

// TestInsistsOnCHAP is of initiators that offer nothing but CHAP where none is needed, as in a discovery session.
func TestInsistsOnCHAP(t *testing.T) {
	insisted := guarded()
	inner := insisted.Lookup
	insisted.Lookup = func(a Ask) (Access, error) {
		access, err := inner(a)
		access.CHAP, access.Insisted = nil, access.CHAP
		return access, err
	}
	const discovery = "InitiatorName=" + initiatorName + " SessionType=Discovery"
	play(t, insisted, script(`
		I 0 `+discovery+` AuthMethod=CHAP
		T 0 AuthMethod=CHAP
		I 0 CHAP_A=5
		T 0 CHAP_A=5 CHAP_I=* CHAP_C=*
		I 0>1 CHAP_N=`+user+` CHAP_R=$R(correct_horse_battery)
		T 0>1`))
	play(t, insisted, script(`
		I 0>1 `+discovery+` AuthMethod=CHAP,None
		T 0>1 AuthMethod=None`))
	l := dial(insisted)
	for _, x := range []string{"0 " + discovery + " AuthMethod=CHAP", "0 CHAP_A=5"} {
		if _, err := l.send(x); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.send("0>1 CHAP_N=" + user + " CHAP_R=$R(wrong)"); err == nil || l.last.Header.Status != pdu.LoginAuthFailure {
		t.Fatalf("a wrong secret: %v", err)
	}
	if _, err := dial(open()).send("0 " + discovery + " AuthMethod=CHAP"); err == nil || !strings.Contains(err.Error(), "AuthMethod must be None") {
		t.Fatalf("nobody has credentials: %v", err)
	}
}
