package turnclient

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/stun/v4"
)

// hostAt is one of many addresses, at none of which there is anybody.
func hostAt(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 1000)
}

// TestPeersInUse lose nothing for as long as they are.
func TestPeersInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t)
		other := netip.AddrPortFrom(peerAt.Addr(), peerAt.Port()+1) // at the same host
		checked := hostAt(1)
		s.client.Send([]byte("data"), peerAt)
		s.client.Send([]byte("data"), other)
		s.client.Send(check(), checked)
		synctest.Wait()
		for range 60 {
			s.took()
			for range 12 {
				s.client.Send([]byte("data"), peerAt)
				s.client.Send([]byte("data"), other)
				s.client.Send(check(), checked)
				time.Sleep(5 * time.Second)
			}
			if _, byChannel, lost := s.took(); byChannel != 24 || lost > 0 {
				t.Fatalf("%d packets by a channel, %d lost, want 24 and 0", byChannel, lost)
			}
		}
		// Permissions are asked for each 3 min, but where a channel has brought one, and channels each 8.
		for peer, most := range map[netip.Addr]int{peerAt.Addr(): 21, checked.Addr(): 21} {
			if got := s.requests(stun.MethodCreatePermission, peer); got > most || got < 10 {
				t.Errorf("%d requests for permission for %v", got, peer)
			}
		}
		if got := s.requests(stun.MethodChannelBind, peerAt.Addr()); got > 2*9 {
			t.Errorf("%d requests for channels", got)
		}
		if numbers := s.bound(); len(numbers) != 2 {
			t.Errorf("channels %x were used, want two", numbers)
		}
	})
}

// state is what is kept of peers.
func (a *Allocation) state() string {
	a.peers.Lock()
	defer a.peers.Unlock()
	return fmt.Sprintf("%d hosts, %d peers, %d channels", len(a.peers.hosts), len(a.peers.peers), len(a.peers.channels))
}

func (a *Allocation) count(of func(*peers) int) int {
	a.peers.RLock()
	defer a.peers.RUnlock()
	return of(&a.peers)
}

// TestPeersThatAreNotInUse are forgotten, and their channels' numbers only once no packet of
// theirs can be under way.
func TestPeersThatAreNotInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t)
		s.client.Send([]byte("data"), peerAt)
		s.client.Send(check(), hostAt(1))
		synctest.Wait()
		p, began := s.client.to(peerAt, time.Now()), time.Now()
		for _, step := range []struct {
			at    time.Duration
			bound bool
			state string
		}{
			{0, true, "2 hosts, 2 peers, 1 channels"},
			{renewal - time.Second, true, "2 hosts, 2 peers, 1 channels"},
			{renewal + tendEvery, true, "1 hosts, 1 peers, 1 channels"},
			{permissionLife + time.Second, false, "1 hosts, 1 peers, 1 channels"},
			{channelLife + tendEvery, false, "1 hosts, 1 peers, 1 channels"},
			{channelLife + numberLife - time.Second, false, "1 hosts, 1 peers, 1 channels"},
			{channelLife + numberLife + tendEvery, false, "0 hosts, 0 peers, 0 channels"},
		} {
			time.Sleep(time.Until(began.Add(step.at)))
			synctest.Wait()
			if got, bound := s.client.state(), p.usable(time.Now()) != 0; got != step.state || bound != step.bound {
				t.Errorf("after %v: %s, bound: %v", step.at, got, bound)
			}
		}
		for method, want := range map[stun.Method]int{stun.MethodCreatePermission: 2, stun.MethodChannelBind: 1} {
			if got := len(s.times(method, began)); got != want {
				t.Errorf("%d requests of %v, want %d: none was renewed", got, method, want)
			}
		}
	})
}

// TestPeerThatIsUsedAgain has the same channel.
func TestPeerThatIsUsedAgain(t *testing.T) {
	for _, after := range []time.Duration{time.Minute, channelLife + tendEvery + time.Second, channelLife + numberLife - tendEvery} {
		synctest.Test(t, func(t *testing.T) {
			s := serve(t)
			s.client.Send([]byte("data"), peerAt)
			time.Sleep(after)
			s.took()
			s.client.Send([]byte("again"), peerAt)
			time.Sleep(tendEvery)
			s.client.Send([]byte("again"), peerAt)
			if relayed, byChannel, lost := s.took(); len(relayed) != 2 || byChannel == 0 || lost > 0 {
				t.Errorf("after %v: %d relayed, %d by a channel, %d lost", after, len(relayed), byChannel, lost)
			}
			if numbers := s.bound(); len(numbers) != 1 {
				t.Errorf("after %v: channels %x", after, numbers)
			}
		})
	}
}

// TestRenewalThatIsSlow is not asked for twice.
func TestRenewalThatIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t)
		ports := []netip.AddrPort{peerAt, netip.AddrPortFrom(peerAt.Addr(), peerAt.Port()+1)}
		for _, port := range ports {
			s.client.Send(check(), port)
		}
		s.client.Send([]byte("data"), peerAt)
		synctest.Wait()
		s.will(silent)
		later := time.Now().Add(channelLife - renewal)
		for range 3 {
			for _, port := range ports {
				s.client.to(port, time.Now()).used.Store(later.UnixNano())
			}
			for _, p := range s.client.sweep(later) {
				s.client.bind(p)
			}
			synctest.Wait()
		}
		for _, method := range []stun.Method{stun.MethodCreatePermission, stun.MethodChannelBind} {
			if got := s.requests(method, peerAt.Addr()); got != 2 {
				t.Errorf("%d requests of %v, want one and its renewal", got, method)
			}
		}
	})
}

// TestCrowdOfHosts that are not there, or that the server does not answer for.
func TestCrowdOfHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t)
		s.client.Send([]byte("data"), peerAt)
		synctest.Wait()
		s.took()
		s.will(func(m *stun.Message) *stun.Message {
			if p := peerOf(m).Addr(); p.IsValid() && p != peerAt.Addr() {
				return nil
			}
			return s.byTheBook(m)
		})
		// It takes so many rounds until there are as many hosts as there may be.
		const rounds, crowd = maxHosts/maxAsking + 1, 10_000
		a := s.client
		for round := range rounds {
			before := runtime.NumGoroutine()
			for i := range crowd {
				a.Send(check(), hostAt(round*crowd+i))
			}
			for range 2 * maxWaiting {
				a.Send(check(), hostAt(round*crowd))
			}
			if got := runtime.NumGoroutine() - before; got > maxAsking {
				t.Errorf("%d goroutines more", got)
			}
			a.peers.Lock()
			if a.peers.asking > maxAsking || len(a.peers.hosts) > maxHosts {
				t.Errorf("%d hosts, %d asked for", len(a.peers.hosts), a.peers.asking)
			}
			for _, h := range a.peers.hosts {
				if len(h.waiting) > maxWaiting {
					t.Fatalf("%d packets wait for %v", len(h.waiting), h.addr)
				}
			}
			a.peers.Unlock()
			time.Sleep(patience)
			synctest.Wait()
			a.Send([]byte("data"), peerAt)
		}
		if n := a.count(func(p *peers) int { return len(p.hosts) }); n < maxHosts*7/8 || n > maxHosts {
			t.Errorf("%d hosts, want about %d", n, maxHosts)
		}
		if relayed, byChannel, lost := s.took(); byChannel != rounds || lost > 0 {
			t.Errorf("in the crowd, %d packets of %d came through, %d lost", len(relayed), rounds, lost)
		}
		time.Sleep(renewal + patience + tendEvery)
		if got, want := a.state(), "1 hosts, 1 peers, 1 channels"; got != want {
			t.Errorf("afterwards %s, want %s", got, want)
		}
	})
}

// TestMoreHostsThanMaySendToUs: those that were not used for longest are forgotten.
func TestMoreHostsThanMaySendToUs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t)
		for i := range 2 * maxHosts {
			s.client.Send(check(), hostAt(i))
			synctest.Wait()
		}
		if relayed, _, lost := s.took(); len(relayed) != 2*maxHosts || lost > 0 {
			t.Errorf("%d were sent to, and %d packets lost, want %d and 0", len(relayed), lost, 2*maxHosts)
		}
		if n := s.client.count(func(p *peers) int { return len(p.hosts) }); n > maxHosts {
			t.Errorf("%d hosts are known, want %d at most", n, maxHosts)
		}
	})
}

// TestCrowdOfPorts at one host.
func TestCrowdOfPorts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t)
		for port := range 10_000 {
			s.client.Send(check(), netip.AddrPortFrom(peerAt.Addr(), uint16(port+1)))
			synctest.Wait()
		}
		full := s.client.state()
		if n := s.client.count(func(p *peers) int { return len(p.peers) }); n < maxPeers*7/8 || n > maxPeers {
			t.Errorf("%d ports, want about %d", n, maxPeers)
		}
		if got := s.requests(stun.MethodCreatePermission, peerAt.Addr()); got != 1 {
			t.Errorf("%d requests for permission", got)
		}
		s.client.sweep(time.Now().Add(renewal - time.Second))
		if got := s.client.state(); got != full {
			t.Errorf("in use: %s, want %s", got, full)
		}
		s.client.sweep(time.Now().Add(renewal))
		if got, want := s.client.state(), "0 hosts, 0 peers, 0 channels"; got != want {
			t.Errorf("later %s, want %s", got, want)
		}
	})
}

// TestEachChannelIsOfOnePeer, though all there are be taken.
func TestEachChannelIsOfOnePeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t)
		peer := func(i int) netip.AddrPort { return netip.AddrPortFrom(peerAt.Addr(), uint16(i+1)) }
		for i := range maxPeers {
			s.client.Send([]byte("data"), peer(i))
			synctest.Wait()
			if i == 0 {
				s.client.peers.next = s.bound()[0] // as after a round
			}
		}
		s.took()
		for i := range maxPeers + 10 {
			s.client.Send(fmt.Append(nil, i), peer(i))
		}
		relayed, byChannel, lost := s.took()
		if byChannel != maxPeers || len(relayed) != maxPeers || lost > 0 {
			t.Fatalf("%d packets relayed, %d by channels, %d lost, want %d", len(relayed), byChannel, lost, maxPeers)
		}
		for i, got := range relayed {
			if want := (packet{fmt.Sprint(i), peer(i)}); got != want {
				t.Fatalf("relayed %v, want %v", got, want)
			}
		}
	})
}

// TestPacketsWaitForPermission, a few of them, and then go in order.
func TestPacketsWaitForPermission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t)
		s.will(silent)
		var want []packet
		for i := range maxWaiting + 5 {
			data := check()
			s.client.Send(data, peerAt)
			clear(data) // it is the caller's
			if i < maxWaiting {
				want = append(want, packet{peer: peerAt})
			}
		}
		synctest.Wait()
		if relayed, _, lost := s.took(); len(relayed) > 0 || lost > 0 {
			t.Errorf("%d were relayed, and %d lost, without permission", len(relayed), lost)
		}
		s.will(nil)
		time.Sleep(time.Second)
		relayed, _, lost := s.took()
		if len(relayed) != len(want) || lost > 0 {
			t.Fatalf("%d were relayed, and %d lost, want %d and 0", len(relayed), lost, len(want))
		}
		for _, p := range relayed {
			if !stun.IsMessage([]byte(p.data)) {
				t.Errorf("relayed %.20x, which is not what was sent", p.data)
			}
		}
	})
}

// TestHostsThatAreRefused are asked for again, in a while.
func TestHostsThatAreRefused(t *testing.T) {
	for what, data := range map[string][]byte{"a check": check(), "data": []byte("data")} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := serve(t)
				s.will(func(m *stun.Message) *stun.Message { return refusal(m, stun.CodeForbidden) })
				requests := func() int {
					return s.requests(stun.MethodCreatePermission, peerAt.Addr()) + s.requests(stun.MethodChannelBind, peerAt.Addr())
				}
				first := 0
				for i := range refusedFor / time.Second {
					s.client.Send(data, peerAt)
					synctest.Wait()
					if i == 0 {
						first = requests()
					}
					time.Sleep(time.Second)
				}
				if got := requests(); got != first || first == 0 {
					t.Errorf("asked %d times, then %d", first, got-first)
				}
				if relayed, _, lost := s.took(); len(relayed) > 0 || lost > 0 || len(s.client.peers.hosts[peerAt.Addr()].waiting) > 0 {
					t.Errorf("%d relayed, %d lost, %d wait", len(relayed), lost, len(s.client.peers.hosts[peerAt.Addr()].waiting))
				}
				s.will(nil)
				time.Sleep(time.Second)
				s.client.Send(data, peerAt)
				synctest.Wait()
				if relayed, _, _ := s.took(); len(relayed) != 1 || relayed[0] != (packet{string(data), peerAt}) {
					t.Errorf("relayed once it is permitted: %v", relayed)
				}
			})
		})
	}
}

// TestChannelBringsPermission, whatever comes of the request for it.
func TestChannelBringsPermission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t)
		s.will(silent)
		for range 3 {
			s.client.Send([]byte("data"), peerAt)
		}
		s.will(func(m *stun.Message) *stun.Message {
			if m.Type.Method == stun.MethodCreatePermission {
				return nil
			}
			return s.byTheBook(m)
		})
		time.Sleep(time.Second)
		if relayed, _, lost := s.took(); len(relayed) != 3 || lost > 0 {
			t.Errorf("%d relayed, %d lost", len(relayed), lost)
		}
		if got := s.requests(stun.MethodChannelBind, peerAt.Addr()); got != 1 {
			t.Errorf("%d requests for a channel", got)
		}
	})
}

// TestServerWithoutChannels has all data in indications.
func TestServerWithoutChannels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t)
		s.will(s.refusing(stun.MethodChannelBind, stun.CodeInsufficientCapacity))
		for range 100 {
			s.client.Send([]byte("data"), peerAt)
			time.Sleep(time.Second)
		}
		if relayed, byChannel, lost := s.took(); len(relayed) != 100 || byChannel > 0 || lost > 0 {
			t.Errorf("%d relayed, %d by a channel, %d lost", len(relayed), byChannel, lost)
		}
		if got := s.requests(stun.MethodChannelBind, peerAt.Addr()); got > 4 {
			t.Errorf("%d requests for a channel", got)
		}
	})
}
