package api

import (
	"strings"
	"testing"
)

func TestCheckName(t *testing.T) {
	for _, name := range []string{"a", "0", "demo", "vm-1.disk", strings.Repeat("a", 63), "a--b..c"} {
		if err := CheckName(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"", ".", "..", "-a", "a-", ".a", "a.", "A", "a_b", "a b", "a/b", "ä", "a\n", strings.Repeat("a", 64)} {
		if CheckName(name) == nil {
			t.Errorf("%q was accepted", name)
		}
	}
}

func TestCheckVolumeSize(t *testing.T) {
	for _, size := range []Size{MiB, 10 * GiB, 32 * TiB, 3 * MiB} {
		if err := CheckVolumeSize(size); err != nil {
			t.Error(err)
		}
	}
	for _, size := range []Size{-MiB, 0, MiB - 512, MiB + 512, 32*TiB + MiB} {
		if CheckVolumeSize(size) == nil {
			t.Errorf("%s was accepted", size)
		}
	}
}

func TestCheckInitiator(t *testing.T) {
	for _, name := range []string{"iqn.1993-08.org.debian:01:abc", "IQN.1991-05.com.microsoft:PC", "eui.02004567A425678D", "naa.52004567BA64678D"} {
		if err := CheckInitiator(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"", "debian", "iqn", "iqn.a b", "iqn.a/b", "iqn.a\x00", "iqn." + strings.Repeat("a", 220)} {
		if CheckInitiator(name) == nil {
			t.Errorf("%q was accepted", name)
		}
	}
}
