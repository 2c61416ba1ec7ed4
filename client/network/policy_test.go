package network

import (
	"net/netip"
	"strings"
	"testing"
)

func TestPolicyOfAddresses(t *testing.T) {
	n, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	order := []string{"127.0.0.1 ::1 ::ffff:127.9.9.9", "169.254.1.1 fe80::1", "10.0.0.1 172.16.0.1 192.168.0.1 fd00::1 100.127.255.255", "8.8.8.8 2001:4860::1 172.32.0.1 100.128.0.1"}
	for i, speakers := range order {
		for j, named := range order {
			for speaker := range strings.FieldsSeq(speakers) {
				for address := range strings.FieldsSeq(named) {
					may := n.MayName(netip.MustParseAddr(speaker), netip.MustParseAddr(address))
					if may != (j >= i) {
						t.Errorf("%s may name %s: %v", speaker, address, may)
					}
				}
			}
		}
	}
	if n.MayName(netip.Addr{}, netip.MustParseAddr("10.0.0.1")) {
		t.Error("an unknown stranger may name a private address")
	}
	for _, nowhere := range []string{"0.0.0.0", "::", "224.0.0.251", "ff02::1"} {
		if n.MayName(netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr(nowhere)) {
			t.Errorf("%s may be named", nowhere)
		}
	}
	here, err := New(Config{Bind: []netip.Addr{netip.MustParseAddr("127.0.0.1")}})
	if err != nil {
		t.Fatal(err)
	}
	if !here.MayName(netip.Addr{}, netip.MustParseAddr("127.0.0.1")) {
		t.Error("what cannot leave this machine keeps out who is on it")
	}
}
