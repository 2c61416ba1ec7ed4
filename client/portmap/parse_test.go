package portmap

import (
	"bytes"
	"net/netip"
	"net/url"
	"strings"
	"testing"
)

// What is taken from an answer is within bounds, whatever it says.
func FuzzParseNATPMP(f *testing.F) {
	f.Add([]byte("\x00\x80\x00\x00\x00\x00\x01\x00\xcb\x00\x71\x09"))
	f.Add([]byte("\x00\x82\x00\x00\x00\x00\x01\x00\x1a\xe1\x1a\xe1\x00\x00\x0e\x10"))
	f.Add([]byte("\x00\x82\x00\x01\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := parseNATPMP(b)
		if err == nil && (a.operation > natpmpTCP || a.lifetime > maxLease || a.result == 0 && a.operation == natpmpAddress && !a.address.Is4()) {
			t.Errorf("taken from %x: %+v", b, a)
		}
	})
}

func FuzzParsePCP(f *testing.F) {
	f.Add(append([]byte("\x02\x80\x00\x00"), make([]byte, 20)...))
	f.Add(append([]byte("\x02\x81\x00\x00\x00\x00\x0e\x10"), make([]byte, 52)...))
	f.Add([]byte("\x00\x81\x00\x01\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := parsePCP(b)
		if err == nil && (a.lifetime > maxLease || a.opcode > 127 || len(b) > maxAnswer) {
			t.Errorf("taken from %x: %+v", b, a)
		}
	})
}

func FuzzParseSSDP(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\nLOCATION: http://192.168.1.1:5000/rootDesc.xml\r\n\r\n"))
	f.Add([]byte("NOTIFY * HTTP/1.1\r\n\r\n"))
	w := way{nets: []netip.Prefix{netip.MustParsePrefix("192.168.1.7/24")}}
	sender := netip.MustParseAddr("192.168.1.1")
	f.Fuzz(func(t *testing.T, b []byte) {
		location := parseSSDP(b)
		if location != nil && w.trusts(sender, location) && (location.Hostname() != "192.168.1.1" || location.Scheme != "http") {
			t.Errorf("%q sends us to %v", b, location)
		}
	})
}

// A description leads to no other host.
func FuzzParseDescription(f *testing.F) {
	f.Add([]byte(`<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0"><URLBase>http://evil/</URLBase><device><serviceList><service>` +
		`<serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType><controlURL>/ctl/IPConn</controlURL></service></serviceList></device></root>`))
	f.Add([]byte(`<root><device><deviceList>`))
	f.Fuzz(func(t *testing.T, b []byte) {
		location, err := url.Parse("http://192.168.1.1:5000/rootDesc.xml")
		if err != nil {
			t.Fatal(err)
		}
		root, err := parseDescription(bytes.NewReader(b), location)
		if err == nil && root.URLBase.Host != location.Host {
			t.Errorf("URLs are relative to %v", root.URLBase)
		}
	})
}

func TestDevicesSendUsToThemselvesOnly(t *testing.T) {
	w := way{
		gateways: []netip.Addr{netip.MustParseAddr("10.9.0.1")},
		nets:     []netip.Prefix{netip.MustParsePrefix("192.168.1.7/24")},
	}
	for _, test := range []struct {
		sender, location string
		want             bool
	}{
		{"192.168.1.1", "http://192.168.1.1:5000/x.xml", true},
		{"10.9.0.1", "http://10.9.0.1/x.xml", true},
		{"192.168.1.1", "http://192.168.1.2:5000/x.xml", false},
		{"192.168.1.1", "http://example.com/x.xml", false},
		{"192.168.1.1", "https://192.168.1.1/x.xml", false},
		{"192.168.1.1", "http://user@192.168.1.1/x.xml", false},
		{"192.168.1.1", "file://192.168.1.1/etc/passwd", false},
		{"198.51.100.1", "http://198.51.100.1/x.xml", false},
	} {
		location, err := url.Parse(test.location)
		if err != nil {
			t.Fatal(err)
		}
		if got := w.trusts(netip.MustParseAddr(test.sender), location); got != test.want {
			t.Errorf("%s names %s: %v", test.sender, test.location, got)
		}
	}
}

func TestGuesses(t *testing.T) {
	for _, test := range []struct{ local, want string }{
		{"192.168.1.7/24", "192.168.1.1"}, {"10.2.0.2/32", "10.2.0.1"}, {"10.16.4.5/16", "10.16.0.1"}, {"192.168.1.1/24", ""},
	} {
		p := netip.MustParsePrefix(test.local)
		var got []string
		for _, a := range guesses(p.Addr(), []netip.Prefix{p}) {
			got = append(got, a.String())
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s: %v, want %s", test.local, got, test.want)
		}
	}
}
