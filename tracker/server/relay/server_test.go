package relay

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pion/turn/v5"

	"github.com/causeway-bt/causeway/tracker/server/port"
)

const secret = "a secret"

// patience is how long anything on loopback may take.
const patience = 10 * time.Second

// served is a server on loopback, on one UDP and one TCP port.
type served struct {
	*Server
	udp net.PacketConn
	tcp net.Listener
	tls *tls.Config // of clients
}

// serve runs a server until the test ends.
func serve(t *testing.T, config Config) *served {
	t.Helper()
	server, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	example := httptest.NewTLSServer(nil) // for its certificate
	t.Cleanup(example.Close)
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	share, err := server.Port(udp)
	if err != nil {
		t.Fatal(err)
	}
	reading := make(chan struct{})
	go func() {
		defer close(reading)
		b := make([]byte, 2048)
		for {
			n, from, err := udp.(*net.UDPConn).ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			share.Deliver(b[:n], from)
		}
	}()
	split := port.Listen(tcp, port.Config{TLS: &tls.Config{Certificates: example.TLS.Certificates}, TURN: server.ServeConn})
	t.Cleanup(func() {
		server.Close()
		split.Close()
		udp.Close()
		<-reading
	})
	roots := x509.NewCertPool()
	roots.AddCert(example.Certificate())
	return &served{Server: server, udp: udp, tcp: tcp, tls: &tls.Config{RootCAs: roots, ServerName: "example.com"}}
}

// client connects a TURN client by "udp", "tcp" or "tls".
func (s *served) client(t *testing.T, transport, username, password string) *turn.Client {
	t.Helper()
	client, _ := s.connect(t, transport, username, password)
	return client
}

// connect returns a client's connection, too.
func (s *served) connect(t *testing.T, transport, username, password string) (*turn.Client, net.PacketConn) {
	t.Helper()
	config := turn.ClientConfig{Username: username, Password: password, Realm: DefaultRealm, RTO: 100 * time.Millisecond}
	switch transport {
	case "udp":
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		config.Conn, config.STUNServerAddr = conn, s.udp.LocalAddr().String()
	case "tcp":
		conn, err := net.Dial("tcp", s.tcp.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		config.Conn, config.STUNServerAddr = turn.NewSTUNConn(conn), s.tcp.Addr().String()
	case "tls":
		conn, err := tls.Dial("tcp", s.tcp.Addr().String(), s.tls)
		if err != nil {
			t.Fatal(err)
		}
		config.Conn, config.STUNServerAddr = turn.NewSTUNConn(conn), s.tcp.Addr().String()
	}
	config.TURNServerAddr = config.STUNServerAddr
	client, err := turn.NewClient(&config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		config.Conn.Close()
	})
	if err := client.Listen(); err != nil {
		t.Fatal(err)
	}
	return client, config.Conn
}

// allocate makes a relay for a user with good credentials.
func (s *served) allocate(t *testing.T, transport, name string) net.PacketConn {
	t.Helper()
	username, password, err := s.Credentials(name, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := s.client(t, transport, username, password).Allocate()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// exchange sends a packet until it has come, and returns what was received: the first packet of a
// TURN client waits for a permission, and UDP may lose it.
func exchange(t *testing.T, from, to net.PacketConn, message string) net.Addr {
	t.Helper()
	b := make([]byte, 100)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if _, err := from.WriteTo([]byte(message), to.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		if err := to.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		n, addr, err := to.ReadFrom(b)
		if err == nil && string(b[:n]) == message {
			return addr
		}
	}
	t.Fatalf("%q did not come", message)
	return nil
}

func TestBinding(t *testing.T) {
	s := serve(t, Config{}) // STUN alone
	for _, transport := range []string{"udp", "tcp", "tls"} {
		t.Run(transport, func(t *testing.T) {
			mapped, err := s.client(t, transport, "", "").SendBindingRequest()
			if err != nil {
				t.Fatal(err)
			}
			if a := addrPort(mapped); !a.Addr().IsLoopback() || a.Port() == 0 {
				t.Errorf("mapped address %v", mapped)
			}
		})
	}
}

// TestRelay has two clients that talk to each other by their relays, on a machine that relays
// to no inner addresses: only relays of its own are let in.
func TestRelay(t *testing.T) {
	s := serve(t, Config{Secret: secret})
	for _, transport := range []string{"udp", "tcp", "tls"} {
		t.Run(transport, func(t *testing.T) {
			a, b := s.allocate(t, transport, "a"), s.allocate(t, "udp", "b")
			if _, err := b.WriteTo([]byte("open"), a.LocalAddr()); err != nil { // permits a
				t.Fatal(err)
			}
			if from := exchange(t, a, b, "there"); from.String() != a.LocalAddr().String() {
				t.Errorf("came from %v, want %v", from, a.LocalAddr())
			}
			if from := exchange(t, b, a, "and back"); from.String() != b.LocalAddr().String() {
				t.Errorf("came from %v, want %v", from, b.LocalAddr())
			}
		})
	}
	if stats := s.Stats(); stats.Relayed == 0 {
		t.Errorf("stats %+v", stats)
	}
}

// TestPublicAddress has clients relayed at an address that is not this machine's, as behind a
// NAT, and meet there though no NAT leads back.
func TestPublicAddress(t *testing.T) {
	public := netip.MustParseAddr("203.0.113.7")
	s := serve(t, Config{Secret: secret, Public: []netip.Addr{public, netip.MustParseAddr("2001:db8::1")}})
	a, b := s.allocate(t, "udp", "a"), s.allocate(t, "tcp", "b")
	for _, conn := range []net.PacketConn{a, b} {
		if got := addrPort(conn.LocalAddr()).Addr(); got != public {
			t.Fatalf("relayed at %v, want %v", got, public)
		}
	}
	if _, err := b.WriteTo([]byte("open"), a.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	if from := exchange(t, a, b, "there"); from.String() != a.LocalAddr().String() {
		t.Errorf("came from %v, want %v", from, a.LocalAddr())
	}
}

func TestPortRange(t *testing.T) {
	const low, high = 50100, 50103
	s := serve(t, Config{Secret: secret, MinPort: low, MaxPort: high})
	seen := map[uint16]bool{}
	for range 3 {
		p := addrPort(s.allocate(t, "udp", "").LocalAddr()).Port()
		if p < low || p > high || seen[p] {
			t.Errorf("port %d, after %v", p, seen)
		}
		seen[p] = true
	}
	if _, err := New(Config{MinPort: 2, MaxPort: 1}); err == nil {
		t.Error("a range without ports was taken")
	}
}

func TestWrongCredentials(t *testing.T) {
	s := serve(t, Config{Secret: secret, Users: map[string]string{"alice": "wonder"}})
	good, goodPassword, err := s.Credentials("a", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	old, oldPassword, err := s.Credentials("a", -time.Second)
	if err != nil {
		t.Fatal(err)
	}
	other := sign("another secret", good)
	for _, test := range []struct {
		what, username, password string
		ok                       bool
	}{
		{"time-limited", good, goodPassword, true},
		{"static", "alice", "wonder", true},
		{"expired", old, oldPassword, false},
		{"of another secret", good, other, false},
		{"longer than was signed", "9" + good, goodPassword, false},
		{"of no time", "a", sign(secret, "a"), false},
		{"of a user that is unknown", "bob", "wonder", false},
		{"with another's password", "alice", goodPassword, false},
		{"empty", "", "", false},
	} {
		t.Run(test.what, func(t *testing.T) {
			conn, err := s.client(t, "udp", test.username, test.password).Allocate()
			if (err == nil) != test.ok {
				t.Errorf("error %v, want none: %v", err, test.ok)
			}
			if err == nil {
				conn.Close()
			}
		})
	}
}

// TestCredentials compares with what `turnutils_uclient -W` and the draft compute.
func TestCredentials(t *testing.T) {
	s, err := New(Config{Secret: "north", Now: func() time.Time { return time.Unix(1_000_000, 0) }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	username, password, err := s.Credentials("alice", time.Hour)
	if err != nil || username != "1003600:alice" {
		t.Fatalf("%q, %v", username, err)
	}
	// printf 1003600:alice | openssl dgst -sha1 -hmac north -binary | base64
	if want := "udLEuyyDOwk3mLEbdxPxYtNXKVA="; password != want {
		t.Errorf("password %q, want %q", password, want)
	}
	stunOnly, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer stunOnly.Close()
	if _, _, err := stunOnly.Credentials("alice", time.Hour); !errors.Is(err, ErrNoSecret) {
		t.Errorf("credentials without a secret: %v", err)
	}
}

// TestInnerAddressesAreRefused asks for what only this machine or its network should reach.
func TestInnerAddressesAreRefused(t *testing.T) {
	s := serve(t, Config{Secret: secret})
	username, password, err := s.Credentials("a", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	client := s.client(t, "udp", username, password)
	conn, err := client.Allocate()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, inner := range []string{"10.1.2.3", "127.0.0.2", "192.168.1.1", "169.254.169.254", "224.0.0.1", "255.255.255.255", "0.0.0.0", "100.64.0.1"} {
		err := client.CreatePermission(&net.UDPAddr{IP: net.ParseIP(inner), Port: 80})
		if err == nil || !strings.Contains(err.Error(), "403") {
			t.Errorf("permission for %s: %v", inner, err)
		}
	}
	if err := client.CreatePermission(&net.UDPAddr{IP: net.ParseIP("192.0.2.1"), Port: 80}); err != nil {
		t.Errorf("permission for a public address: %v", err)
	}
}

// TestThisMachineIsNotReached sends to a program on the relay's own address, for which there
// are permissions since others may be relayed there.
func TestThisMachineIsNotReached(t *testing.T) {
	for _, allowed := range []bool{false, true} {
		t.Run(fmt.Sprintf("allowed %v", allowed), func(t *testing.T) {
			s := serve(t, Config{Secret: secret, AllowPrivate: allowed})
			local, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer local.Close()
			relayed := s.allocate(t, "udp", "a")
			if allowed {
				exchange(t, relayed, local, "let in")
				return
			}
			eventually(t, "a packet to be refused", func() bool {
				if _, err := relayed.WriteTo([]byte("let me in"), local.LocalAddr()); err != nil {
					t.Fatal(err)
				}
				return s.Stats().Refused > 0
			})
			if err := local.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			if n, _, err := local.ReadFrom(make([]byte, 100)); err == nil {
				t.Errorf("%d bytes came through", n)
			}
			// Nor do packets of this machine's programs come out.
			refused := s.Stats().Refused
			if _, err := local.WriteTo([]byte("hello"), relayed.LocalAddr()); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the packet to be refused", func() bool { return s.Stats().Refused > refused })
		})
	}
}
