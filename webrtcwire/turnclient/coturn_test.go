package turnclient

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"github.com/causeway-bt/causeway/bench/realpeer"
)

// link is a socket that is connected to a server. What comes by it is for the newest allocation.
type link struct {
	t        *testing.T
	conn     net.Conn
	received chan packet

	mu         sync.Mutex
	newest     *Allocation
	sent, came []string // kinds of packets
}

func dial(t *testing.T, network, server string) *link {
	t.Helper()
	conn, err := net.Dial(network, server)
	if err != nil {
		t.Fatal(err)
	}
	l := &link{t: t, conn: conn, received: make(chan packet, 100)}
	b := make([]byte, maxTrain)
	read := func() ([]byte, error) { n, err := conn.Read(b); return b[:n], err }
	if network == "tcp" {
		read = NewReader(conn).Next
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		for {
			b, err := read()
			switch {
			case errors.Is(err, net.ErrClosed):
				return
			case errors.Is(err, syscall.ECONNREFUSED): // coturn will listen there soon
				continue
			}
			if err != nil {
				t.Errorf("read: %v", err)
				return
			}
			l.mu.Lock()
			l.came = append(l.came, kind(b))
			newest := l.newest
			l.mu.Unlock()
			newest.Receive(b)
		}
	})
	t.Cleanup(func() {
		conn.Close()
		reading.Wait()
	})
	return l
}

// next returns an allocation to be made by this socket.
func (l *link) next(user, password string) *Allocation {
	a := New(Config{
		Username: user, Password: password, Stream: l.conn.LocalAddr().Network() == "tcp",
		Write: func(b []byte) error {
			l.mu.Lock()
			l.sent = append(l.sent, kind(b))
			l.mu.Unlock()
			_, _ = l.conn.Write(b) // an error is a loss
			return nil
		},
		Received: func(data []byte, from netip.AddrPort) { l.received <- packet{string(data), from} },
	})
	l.giveTo(a)
	l.t.Cleanup(func() { a.Close() })
	return a
}

// giveTo says whose the packets are that come.
func (l *link) giveTo(a *Allocation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.newest = a
}

func (l *link) allocate(user, password string) *Allocation {
	l.t.Helper()
	a := l.next(user, password)
	if err := a.Allocate(testContext(l.t)); err != nil {
		l.t.Fatal(err)
	}
	return a
}

// forget begins the record of packets anew.
func (l *link) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent, l.came = nil, nil
}

// kinds are those of the packets so far.
func (l *link) kinds() (sent, came []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.sent), slices.Clone(l.came)
}

func (l *link) expect(data []byte, from netip.AddrPort) {
	l.t.Helper()
	select {
	case got := <-l.received:
		if want := (packet{string(data), from}); got != want {
			l.t.Errorf("%d bytes %.8x from %v arrived, want %d %.8x from %v",
				len(got.data), got.data, got.peer, len(data), data, from)
		}
	case <-time.After(testTimeout):
		l.t.Fatal("nothing arrived from the peer")
	}
}

// remote is whom the server relays to.
type remote struct {
	*net.UDPConn
	t    *testing.T
	addr netip.AddrPort
}

func listen(t *testing.T) *remote {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(testTimeout)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &remote{conn, t, conn.LocalAddr().(*net.UDPAddr).AddrPort()}
}

func (r *remote) expect(data []byte, from netip.AddrPort) {
	r.t.Helper()
	b := make([]byte, maxTrain)
	n, got, err := r.ReadFromUDPAddrPort(b)
	if err != nil {
		r.t.Fatal(err)
	}
	if !bytes.Equal(b[:n], data) || got != from {
		r.t.Errorf("the peer got %d bytes %.8x from %v, want %d %.8x from %v", n, b[:n], got, len(data), data, from)
	}
}

func (r *remote) send(data []byte, to netip.AddrPort) {
	r.t.Helper()
	if _, err := r.WriteToUDPAddrPort(data, to); err != nil {
		r.t.Fatal(err)
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(testTimeout); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func TestCoturnRelays(t *testing.T) {
	server := realpeer.StartTURN(t)
	for _, network := range []string{"udp", "tcp"} {
		t.Run(network, func(t *testing.T) {
			l, peer := dial(t, network, server.Addr), listen(t)
			a := l.allocate(server.User, server.Password)
			if got := a.Mapped().String(); got != l.conn.LocalAddr().String() {
				t.Errorf("mapped to %s, want %v", got, l.conn.LocalAddr())
			}
			if got := a.Relayed(); got.Addr() != peer.addr.Addr() || got.Port() == 0 || got.String() == server.Addr {
				t.Errorf("relayed from %v", got)
			}
			if !a.Fresh(testTimeout) {
				t.Error("the server has not answered")
			}

			for range 2 { // the first waits for permission
				request, answer := check(), check()
				a.Send(request, peer.addr)
				peer.expect(request, a.Relayed())
				peer.send(answer, a.Relayed())
				l.expect(answer, peer.addr)
			}
			if sent, came := l.kinds(); slices.Contains(sent, "ChannelBind request") ||
				slices.Contains(sent, "channel data") || !slices.Contains(came, "Data indication") {
				t.Errorf("for checks of ICE's went %q and came %q", sent, came)
			}

			first := []byte("this is data")
			a.Send(first, peer.addr)
			peer.expect(first, a.Relayed())
			eventually(t, "a channel", func() bool { return a.to(peer.addr, time.Now()).bound.Load() != 0 })
			l.forget()
			for _, size := range []int{1, 2, 3, 4, 5, 1199, 1200} {
				request, answer := bytes.Repeat([]byte{'q'}, size), bytes.Repeat([]byte{'a'}, size)
				a.Send(request, peer.addr)
				peer.expect(request, a.Relayed())
				peer.send(answer, a.Relayed())
				l.expect(answer, peer.addr)
			}
			request := check() // goes by the channel, too
			a.Send(request, peer.addr)
			peer.expect(request, a.Relayed())

			train := []byte(strings.Repeat("a", 1001) + strings.Repeat("b", 1001) + strings.Repeat("c", 1001) + "d")
			a.SendSegments(train, 1001, peer.addr)
			for len(train) > 0 {
				n := min(1001, len(train))
				peer.expect(train[:n], a.Relayed())
				train = train[n:]
			}
			sent, came := l.kinds()
			for _, kind := range append(sent, came...) {
				if kind != "channel data" {
					t.Errorf("data went as %s", kind)
				}
			}
		})
	}
}

func TestCoturnTrainBeforeThereIsAChannel(t *testing.T) {
	server := realpeer.StartTURN(t)
	l, peer := dial(t, "udp", server.Addr), listen(t)
	a := l.allocate(server.User, server.Password)
	a.SendSegments([]byte("aaabbbc"), 3, peer.addr)
	for _, want := range []string{"aaa", "bbb", "c"} {
		peer.expect([]byte(want), a.Relayed())
	}
}

// TestCoturnIsToldOfTheEnd: it frees the port a second later, not after ten minutes.
func TestCoturnIsToldOfTheEnd(t *testing.T) {
	t.Parallel()
	server := realpeer.StartTURN(t)
	l, peer := dial(t, "udp", server.Addr), listen(t)
	a := l.allocate(server.User, server.Password)
	request := check()
	a.Send(request, peer.addr)
	peer.expect(request, a.Relayed())
	a.Close()
	if err := a.Err(); !errors.Is(err, ErrClosed) {
		t.Errorf("it is over because of %v", err)
	}
	next := l.next(server.User, server.Password)
	eventually(t, "another allocation", func() bool {
		_, err := next.do(testContext(t), stun.MethodAllocate, requestedUDP)
		return err == nil
	})
	_, _ = peer.WriteToUDPAddrPort([]byte("too late"), a.Relayed()) // may fail: nobody is there
	if err := next.Check(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if len(l.received) > 0 {
		t.Errorf("after the end came %+v", <-l.received)
	}
}

// TestCoturnHasEndedIt at the request of somebody else who is the same user.
func TestCoturnHasEndedIt(t *testing.T) {
	t.Parallel()
	server := realpeer.StartTURN(t)
	l := dial(t, "udp", server.Addr)
	a := l.allocate(server.User, server.Password)
	if _, err := l.next(server.User, server.Password).do(testContext(t), stun.MethodRefresh, ended); err != nil {
		t.Fatal(err)
	}
	l.giveTo(a)
	eventually(t, "the allocation to be gone", func() bool {
		_, err := a.do(testContext(t), stun.MethodCreatePermission, peerAddress(a.Mapped()))
		return err != nil
	})
	err := a.Check(testContext(t))
	<-a.Done()
	for _, err := range []error{err, a.Err()} {
		if !is(err, stun.CodeAllocMismatch) {
			t.Errorf("%v, want %d", err, stun.CodeAllocMismatch)
		}
	}
}

// TestCoturnNonceGoesStale has the server want another one all the time.
func TestCoturnNonceGoesStale(t *testing.T) {
	t.Parallel()
	server := realpeer.StartTURN(t, "--no-tls", "--stale-nonce=1")
	l := dial(t, "udp", server.Addr)
	a := l.allocate(server.User, server.Password)
	l.forget()
	eventually(t, "the nonce to go stale", func() bool {
		if err := a.Check(testContext(t)); err != nil {
			t.Fatal(err)
		}
		_, came := l.kinds()
		return slices.Contains(came, "Refresh error response 438")
	})
}

// TestCoturnHasAnothersAllocation at our port, such as of a program that was killed.
func TestCoturnHasAnothersAllocation(t *testing.T) {
	server := realpeer.StartTURN(t, "--no-tls", "--user=other:secret")
	l := dial(t, "udp", server.Addr)
	l.allocate("other", "secret")
	err := l.next(server.User, server.Password).Allocate(testContext(t))
	var refusal *ResponseError
	if !errors.As(err, &refusal) || refusal.Code != stun.CodeAllocMismatch {
		t.Errorf("%v, want %d", err, stun.CodeAllocMismatch)
	}
}

func TestCoturnRefusesAPassword(t *testing.T) {
	server := realpeer.StartTURN(t)
	l := dial(t, "udp", server.Addr)
	err := l.next(server.User, "wrong").Allocate(testContext(t))
	var refusal *ResponseError
	if !errors.As(err, &refusal) || refusal.Code != stun.CodeUnauthorized || refusal.Method != stun.MethodAllocate {
		t.Errorf("%v, want %d", err, stun.CodeUnauthorized)
	}
	if _, came := l.kinds(); len(came) != 2 { // before it knew who we are, and after
		t.Errorf("refused by %q", came)
	}
}

// TestCoturnHasAnAllocationLeft: coturn keeps an allocation for a second after a Refresh with LIFETIME 0, each of which begins that anew.
func TestCoturnHasAnAllocationLeft(t *testing.T) {
	t.Parallel()
	server := realpeer.StartTURN(t)
	l := dial(t, "udp", server.Addr)
	killed := l.allocate(server.User, server.Password)
	defer killed.cancel(ErrClosed)
	l.allocate(server.User, server.Password)
}
