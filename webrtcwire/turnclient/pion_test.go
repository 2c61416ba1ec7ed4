package turnclient

import (
	"errors"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/pion/stun/v4"
	"github.com/pion/turn/v5"
)

// pionServer is pion/turn in this process, with one user.
type pionServer struct {
	addr string

	mu             sync.Mutex
	user, password string
}

func startPion(t *testing.T) *pionServer {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &pionServer{addr: conn.LocalAddr().String()}
	server, err := turn.NewServer(turn.ServerConfig{
		Realm: "causeway.test",
		AuthHandler: func(request *turn.RequestAttributes) (string, []byte, bool) {
			s.mu.Lock()
			defer s.mu.Unlock()
			// All names are of one user, as are those that end after some time.
			return "somebody", turn.GenerateAuthKey(request.Username, request.Realm, s.password), request.Username == s.user
		},
		PacketConnConfigs: []turn.PacketConnConfig{{
			PacketConn:            conn,
			RelayAddressGenerator: &turn.RelayAddressGeneratorStatic{RelayAddress: net.IPv4(127, 0, 0, 1), Address: "127.0.0.1"},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return s
}

// accept has the server know this user, and no other.
func (s *pionServer) accept(user, password string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.user, s.password = user, password
}

// TestAllocationThatIsLeft of a program that was killed.
func TestAllocationThatIsLeft(t *testing.T) {
	server := startPion(t)
	server.accept("me", "secret")
	l := dial(t, "udp", server.addr)
	killed := l.allocate("me", "secret")
	next := l.allocate("me", "secret")
	if _, came := l.kinds(); !slices.Contains(came, "Allocate error response 437") {
		t.Errorf("the server did not mind: %q", came)
	}
	peer := listen(t)
	request := check()
	next.Send(request, peer.addr)
	peer.expect(request, next.Relayed())
	killed.cancel(ErrClosed)
}

// TestCredentialsThatEnd: the server knows newer ones only, after a while.
func TestCredentialsThatEnd(t *testing.T) {
	for _, told := range []bool{true, false} {
		server := startPion(t)
		server.accept("1700000000:me", "first")
		l := dial(t, "udp", server.addr)
		a := l.allocate("1700000000:me", "first")
		server.accept("1700086400:me", "second")
		if told {
			a.SetCredentials("1700086400:me", "second")
		}
		l.forget()
		err := a.Check(testContext(t))
		switch {
		case told && (err != nil || a.Err() != nil):
			t.Errorf("with newer ones: %v, %v", err, a.Err())
		case !told && (!is(err, stun.CodeUnauthorized) || !errors.Is(a.Err(), err)):
			t.Errorf("with those that are over: %v, %v", err, a.Err())
		}
		if sent, _ := l.kinds(); len(sent) > 2 {
			t.Errorf("told %v: %q", told, sent)
		}
	}
}
