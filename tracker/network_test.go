package tracker

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/causeway-bt/causeway/tracker/internal/reach"
)

// fakeNetwork has names, and says who is reached where. What it does not list is the
// system's.
type fakeNetwork struct {
	reach.System
	names map[string][]string // host -> addresses
	place map[string]string   // "tcp4 host:port" -> the address that is dialled instead
	alias map[string]string   // real IP address -> what it is taken for
	panic atomic.Bool
}

func (n *fakeNetwork) LookupNetIP(_ context.Context, network, host string) (addrs []netip.Addr, err error) {
	for _, a := range n.names[host] {
		addr := netip.MustParseAddr(a)
		if network == "ip" || addr.Is4() == (network == "ip4") {
			addrs = append(addrs, addr)
		}
	}
	if len(addrs) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return addrs, nil
}

func (n *fakeNetwork) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if n.panic.Load() {
		panic("a network that panics")
	}
	place, ok := n.place[network+" "+address]
	if !ok {
		place = address
	}
	if place == "silent" {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	conn, err := n.System.DialContext(ctx, network, place)
	if err != nil {
		return nil, err
	}
	host, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
	if as := n.alias[host]; as != "" {
		return aliased{conn, &net.TCPAddr{IP: net.ParseIP(as), Port: 80}}, nil
	}
	return conn, nil
}

func (*fakeNetwork) HTTPTransport() *http.Transport { return &http.Transport{} }

// aliased is a connection that seems to go elsewhere.
type aliased struct {
	net.Conn
	remote net.Addr
}

func (c aliased) RemoteAddr() net.Addr { return c.remote }

// recorder is an HTTP tracker that keeps the events it hears.
type recorder struct {
	*httptest.Server
	mu     sync.Mutex
	events []string
}

func record(t *testing.T, addr, reply string) *recorder {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Skip("cannot listen at", addr, err)
	}
	r := &recorder{}
	r.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		r.events = append(r.events, req.URL.Query().Get("event"))
		r.mu.Unlock()
		io.WriteString(w, reply)
	}))
	r.Listener.Close()
	r.Listener = ln
	r.Start()
	t.Cleanup(r.Close)
	return r
}

func (r *recorder) heard() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

func (r *recorder) addr() string { return r.Listener.Addr().String() }

const onePeer = "d8:completei3e8:intervali1800e5:peers6:\x01\x02\x03\x04\x1a\xe1e"

var bothFamilies = map[string][]string{"both.example": {"127.0.0.1", "::1"}}

func TestBothAddressFamilies(t *testing.T) {
	v4, v6 := record(t, "127.0.0.1:0", onePeer), record(t, "[::1]:0", onePeer)
	network := &fakeNetwork{names: bothFamilies, place: map[string]string{
		"tcp4 both.example:80": v4.addr(), "tcp6 both.example:80": v6.addr(),
	}}
	speakers, told := make(chan netip.Addr, 2), make(chan Status, 2)
	a := New(Config{
		Tiers: [][]string{{"http://both.example/announce"}}, Network: network,
		Stats:    func() Stats { return Stats{} },
		OnPeers:  func(_ string, speaker netip.Addr, _ []netip.AddrPort) { speakers <- speaker },
		OnStatus: func(s Status) { told <- s },
	})
	if s := await(t, told); !s.OK || s.Seeds != 3 {
		t.Errorf("%+v", s)
	}
	got := []string{await(t, speakers).String(), await(t, speakers).String()}
	if slices.Sort(got); !slices.Equal(got, []string{"127.0.0.1", "::1"}) {
		t.Errorf("peers named by %q", got)
	}
	a.Close(t.Context())
	for name, r := range map[string]*recorder{"IPv4": v4, "IPv6": v6} {
		if heard := r.heard(); !slices.Equal(heard, []string{"started", "stopped"}) {
			t.Errorf("%s heard %q", name, heard)
		}
	}
	if len(told) != 0 {
		t.Errorf("two statuses of one tracker: %+v", <-told)
	}
}

func TestFamilyThatDoesNotAnswer(t *testing.T) {
	for _, silent := range []string{"127.0.0.1:1", "silent"} {
		t.Run(silent, func(t *testing.T) {
			v6 := record(t, "[::1]:0", onePeer)
			network := &fakeNetwork{names: bothFamilies, place: map[string]string{
				"tcp4 both.example:80": silent, "tcp6 both.example:80": v6.addr(),
			}}
			peers, told := make(chan []netip.AddrPort, 1), make(chan Status, 1)
			a := New(Config{
				Tiers: [][]string{{"http://both.example/announce"}}, Network: network,
				Stats:    func() Stats { return Stats{} },
				OnPeers:  func(_ string, _ netip.Addr, p []netip.AddrPort) { peers <- p },
				OnStatus: func(s Status) { told <- s },
			})
			defer a.Close(t.Context())
			await(t, peers) // without waiting for the other
			select {
			case s := <-told:
				if !s.OK {
					t.Errorf("%+v", s)
				}
			case <-t.Context().Done():
			}
		})
	}
}

func TestUDPOverBothFamilies(t *testing.T) {
	u4 := udpTracker(t, "udp4", "127.0.0.1:0", wellBehaved(4))
	u6 := udpTracker(t, "udp6", "[::1]:0", wellBehaved(16))
	host := func(raw string) string {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		return u.Host
	}
	network := &fakeNetwork{names: bothFamilies, place: map[string]string{
		"udp4 both.example:80": host(u4), "udp6 both.example:80": host(u6),
	}}
	peers := make(chan string, 4)
	a := New(Config{
		Tiers: [][]string{{"udp://both.example:80/announce"}}, Network: network,
		Stats: func() Stats { return Stats{} },
		OnPeers: func(_ string, speaker netip.Addr, p []netip.AddrPort) {
			peers <- fmt.Sprint(speaker, " ", p[0])
		},
	})
	defer a.Close(t.Context())
	got := []string{await(t, peers), await(t, peers)}
	if slices.Sort(got); !slices.Equal(got, []string{"127.0.0.1 32.0.0.1:256", "::1 [2000::1]:256"}) {
		t.Errorf("got %q", got)
	}
}

// TestRedirectsDoNotReachIn has a tracker, which seems to be out in the world, redirect.
func TestRedirectsDoNotReachIn(t *testing.T) {
	inside := record(t, "127.0.0.1:0", onePeer)
	_, port, _ := net.SplitHostPort(inside.addr())
	for _, c := range []struct {
		name, to, speaker string
		follow            bool
	}{
		{"to loopback", "http://127.0.0.1:" + port, "203.0.113.7", false},
		{"to a name of loopback", "http://inside.example:" + port, "203.0.113.7", false},
		{"to IPv4 within IPv6", "http://[::ffff:127.0.0.1]:" + port, "203.0.113.7", false},
		{"to this host", "http://0.0.0.0:" + port, "203.0.113.7", false},
		{"to the metadata of a cloud", "http://169.254.169.254/", "203.0.113.7", false},
		{"to a private address", "http://192.168.0.1/", "203.0.113.7", false},
		{"private to loopback", "http://127.0.0.1:" + port, "10.0.0.7", false},
		{"loopback to loopback", "http://inside.example:" + port, "127.0.0.1", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			outside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, c.to+"/announce?"+r.URL.RawQuery, http.StatusFound)
			}))
			defer outside.Close()
			network := &fakeNetwork{
				names: map[string][]string{"tracker.example": {"203.0.113.7"}, "inside.example": {"127.0.0.1"}},
				place: map[string]string{"tcp4 tracker.example:80": outside.Listener.Addr().String()},
				alias: map[string]string{"127.0.0.1": c.speaker},
			}
			before := len(inside.heard())
			_, err := announceTo(t.Context(), "http://tracker.example/announce", Config{Network: network})
			followed := len(inside.heard()) > before
			if followed != c.follow || (err == nil) != c.follow {
				t.Errorf("followed: %v, error %v", followed, err)
			}
			if err != nil && !strings.Contains(err.Error(), "is not followed") {
				t.Errorf("error %q", err)
			}
		})
	}
}

func TestErrorsAreInWords(t *testing.T) {
	closed := httptest.NewServer(nil)
	closed.Close()
	hangUp := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer hangUp.Close()
	secure := httptest.NewTLSServer(nil)
	defer secure.Close()
	ssh, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ssh.Close()
	go func() {
		for {
			conn, err := ssh.Accept()
			if err != nil {
				return
			}
			io.WriteString(conn, "SSH-2.0-OpenSSH_9.9\r\n")
			conn.Close()
		}
	}()
	for u, want := range map[string]string{
		closed.URL:                         "connection refused by " + closed.Listener.Addr().String(),
		"http://nowhere.example/":          "no host is named nowhere.example (DNS)",
		hangUp.URL:                         "the server closed the connection without an answer",
		secure.URL:                         "the server's certificate is signed by nobody whom this system trusts (TLS)",
		"https" + hangUp.URL[len("http"):]: "the server does not speak TLS at this port",
		"http://" + ssh.Addr().String():    "the server's answer is not HTTP",
		"udp://nowhere.example:1":          "no host is named nowhere.example (DNS)",
	} {
		_, err := announceTo(t.Context(), u, Config{Network: &fakeNetwork{}})
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %q", u, err, want)
		}
	}
}

func TestPanicEndsOneAnnounceOnly(t *testing.T) {
	tracker := record(t, "127.0.0.1:0", onePeer)
	network := &fakeNetwork{}
	network.panic.Store(true)
	told := make(chan Status, 4)
	a := New(Config{
		Tiers: [][]string{{tracker.URL + "/announce"}}, Network: network,
		Stats: func() Stats { return Stats{} }, OnStatus: func(s Status) { told <- s },
		OnPeers: func(string, netip.Addr, []netip.AddrPort) { panic("a client that panics") },
	})
	defer a.Close(t.Context())
	if s := await(t, told); s.OK || !strings.Contains(s.Message, "fault of this program") {
		t.Errorf("%+v", s)
	}
	network.panic.Store(false)
	a.AddTracker(tracker.URL + "/other")
	if s := await(t, told); s.OK || !strings.Contains(s.Message, "a client that panics") {
		t.Errorf("%+v", s)
	}
}
