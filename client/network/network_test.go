package network

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// What is bound to an address goes out from it, over TCP, UDP and HTTP.
func TestBoundAddressIsWhereThingsComeFrom(t *testing.T) {
	own := netip.MustParseAddr("127.0.0.3")
	n, err := New(Config{Bind: []netip.Addr{own}})
	if err != nil {
		t.Fatal(err)
	}
	var from string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { from = r.RemoteAddr }))
	defer server.Close()
	transport := n.HTTPTransport()
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Get(server.URL)
	if err != nil {
		t.Skip("this system has one loopback address only:", err)
	}
	response.Body.Close()
	if !strings.HasPrefix(from, own.String()+":") {
		t.Errorf("HTTP came from %s", from)
	}
	address := strings.TrimPrefix(server.URL, "http://")
	for _, network := range []string{"tcp", "tcp4", "udp"} {
		conn, err := n.DialContext(t.Context(), network, address)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(conn.LocalAddr().String(), own.String()+":") {
			t.Errorf("%s comes from %v", network, conn.LocalAddr())
		}
		conn.Close()
	}
	if _, err := n.DialContext(t.Context(), "tcp6", "[::1]:1"); !errors.Is(err, errFamily) {
		t.Errorf("of the other family: %v", err)
	}
	if err := n.Uses(netip.IPv6LinkLocalAllNodes()); !errors.Is(err, errFamily) {
		t.Errorf("the other family is used: %v", err)
	}
	if _, err := n.Outgoing(false); !errors.Is(err, errFamily) {
		t.Errorf("the other family goes out: %v", err)
	}
	if err := n.Uses(own); err != nil {
		t.Error(err)
	}
	listener, err := n.Listen(t.Context(), "tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if got := listener.Addr().(*net.TCPAddr).AddrPort().Addr(); got != own {
		t.Errorf("listens at %v", got)
	}
}

// The address that the world would be reached by is one of ours.
func TestOutgoing(t *testing.T) {
	n, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, v4 := range []bool{true, false} {
		out, err := n.Outgoing(v4)
		if err != nil {
			t.Logf("IPv4 %v: %v", v4, err) // there is no way from here
			continue
		}
		ours := slices.ContainsFunc(own, func(a net.Addr) bool {
			p, err := netip.ParsePrefix(a.String())
			return err == nil && p.Addr().Unmap().WithZone("") == out
		})
		if !ours || out.Is4() != v4 || out.IsLoopback() {
			t.Errorf("IPv4 %v: %v, of %v", v4, out, own)
		}
	}
}

// A name that a stranger gave is judged by the address that it is dialled at.
func TestStrangersNamesAreJudgedWhenDialled(t *testing.T) {
	n, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	_, port, err := net.SplitHostPort(strings.TrimPrefix(server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	dial := func(ctx context.Context) error {
		conn, err := n.DialContext(ctx, "tcp4", net.JoinHostPort("localhost", port))
		if err == nil {
			conn.Close()
		}
		return err
	}
	if err := dial(t.Context()); err != nil {
		t.Fatal(err)
	}
	var forbidden *ForbiddenError
	if err := dial(From(t.Context(), netip.Addr{})); !errors.As(err, &forbidden) {
		t.Errorf("a stranger: %v", err)
	}
	if err := dial(From(t.Context(), netip.MustParseAddr("127.0.0.1"))); err != nil {
		t.Errorf("who is on this machine: %v", err)
	}
}

func TestParseBind(t *testing.T) {
	for list, want := range map[string]int{"": 0, "0.0.0.0": 0, "::": 0, "127.0.0.1": 1, "127.0.0.1,::1": 2, " [::1] ": 1} {
		if got, err := ParseBind(list); err != nil || len(got) != want {
			t.Errorf("%q: %v, %v", list, got, err)
		}
	}
	if _, err := ParseBind("300.1.1.1"); err == nil {
		t.Error("no address is taken for one")
	}
	if _, err := New(Config{Bind: []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")}}); err == nil {
		t.Error("two of one family are taken")
	}
}
