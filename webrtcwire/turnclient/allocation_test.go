package turnclient

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/stun/v4"
)

func TestRequestsToASilentServer(t *testing.T) {
	for _, test := range []struct {
		timeout, takes time.Duration
		asks           []time.Duration
	}{
		{timeout: 2 * time.Second, takes: 2 * time.Second, asks: []time.Duration{0, 250, 750, 1750}},
		{timeout: time.Hour, takes: patience, asks: []time.Duration{0, 250, 750, 1750, 3750, 7750}},
	} {
		synctest.Test(t, func(t *testing.T) {
			s, began := newServer(t, silent), time.Now()
			ctx, cancel := context.WithTimeout(context.Background(), test.timeout)
			defer cancel()
			err := s.client.Allocate(ctx)
			if took := time.Since(began); !errors.Is(err, errSilent) || took != test.takes {
				t.Errorf("%v after %v, want %v", err, took, test.takes)
			}
			if late := test.takes == test.timeout; late != errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("with %v: %v", test.timeout, err)
			}
			for i := range test.asks {
				test.asks[i] *= time.Millisecond
			}
			if got := s.times(stun.MethodAllocate, began); !slices.Equal(got, test.asks) {
				t.Errorf("asked after %v, want %v", got, test.asks)
			}
			if s.client.Fresh(time.Hour) {
				t.Error("it has answered")
			}
			closing := time.Now()
			s.client.Close()
			if took := time.Since(closing); took != farewell {
				t.Errorf("the end took %v, want %v", took, farewell)
			}
		})
	}
}

func TestWayThatFails(t *testing.T) {
	failed := errors.New("network is unreachable")
	a := New(Config{Write: func([]byte) error { return failed }})
	defer a.Close()
	if err := a.Allocate(testContext(t)); !errors.Is(err, failed) {
		t.Errorf("%v, want %v", err, failed)
	}
}

// TestServersThatWantToKnowWhoWeAre, and are never content.
func TestServersThatWantToKnowWhoWeAre(t *testing.T) {
	realm, nonce := stun.NewRealm("causeway.test"), stun.NewNonce("nonce")
	for _, test := range []struct {
		what   string
		answer func(*stun.Message) *stun.Message
		asks   int
		err    stun.ErrorCode
	}{
		{"refuses all", func(m *stun.Message) *stun.Message { return refusal(m, 401, realm, nonce) }, 2, 401},
		{"says no realm", func(m *stun.Message) *stun.Message { return refusal(m, 401, nonce) }, 1, 401},
		{"takes no nonce", func(m *stun.Message) *stun.Message { return refusal(m, 438, realm, nonce) }, authTries, 438},
		{"has no other nonce", func(m *stun.Message) *stun.Message { return refusal(m, 438, realm) }, 1, 438},
		{"has no room", func(m *stun.Message) *stun.Message { return refusal(m, 486) }, 1, 486},
		{"says no code", func(m *stun.Message) *stun.Message {
			return stun.MustBuild(stun.NewTransactionIDSetter(m.TransactionID), stun.NewType(stun.MethodAllocate, stun.ClassErrorResponse))
		}, 1, 0},
	} {
		t.Run(test.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t, test.answer)
				err := s.client.Allocate(context.Background())
				var refused *ResponseError
				if !errors.As(err, &refused) || refused.Code != test.err {
					t.Errorf("%v, want %d", err, test.err)
				}
				if len(s.asked) != test.asks {
					t.Errorf("asked %d times, want %d", len(s.asked), test.asks)
				}
			})
		})
	}
}

// TestAnswersThatAreNot the server's: once it knows our password, it shows so.
func TestAnswersThatAreNot(t *testing.T) {
	for _, test := range []struct {
		password string
		taken    bool
	}{{"secret", true}, {"another", false}, {"", false}} {
		synctest.Test(t, func(t *testing.T) {
			key := stun.NewLongTermIntegrity("me", "causeway.test", "secret")
			s := newServer(t, nil)
			s.will(func(m *stun.Message) *stun.Message {
				if key.Check(m) != nil {
					return refusal(m, 401, stun.NewRealm("causeway.test"), stun.NewNonce("nonce"))
				}
				response := s.byTheBook(m)
				if test.password != "" {
					if err := stun.NewLongTermIntegrity("me", "causeway.test", test.password).AddTo(response); err != nil {
						t.Error(err)
					}
				}
				return response
			})
			err := s.client.Allocate(context.Background())
			if taken := err == nil; taken != test.taken {
				t.Errorf("signed with %q: %v", test.password, err)
			}
		})
	}
}

func TestAnswersThatMakeNoAllocation(t *testing.T) {
	relayed := address(stun.AttrXORRelayedAddress, relayedAt)
	for what, attributes := range map[string][]stun.Setter{
		"nothing":          nil,
		"no lifetime":      {relayed},
		"a short lifetime": {relayed, stun.RawAttribute{Type: stun.AttrLifetime, Value: []byte{1, 2, 3}}},
		"no address":       {lifetime(serverLife)},
		"no known family":  {lifetime(serverLife), stun.RawAttribute{Type: stun.AttrXORRelayedAddress, Value: []byte{0, 3, 0, 1, 4, 5, 6, 7}}},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newServer(t, func(m *stun.Message) *stun.Message { return success(m, attributes...) })
			if err := s.client.Allocate(context.Background()); err == nil {
				t.Errorf("%s: taken", what)
			}
		})
	}
}

// TestServersOfIPv6 have to be asked for it.
func TestServersOfIPv6(t *testing.T) {
	relayed := netip.MustParseAddrPort("[2001:db8::1]:50000")
	for _, has := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			var peers []netip.AddrPort
			s := newServer(t, func(m *stun.Message) *stun.Message {
				family, err := m.Get(stun.AttrRequestedAddressFamily)
				switch {
				case m.Type.Method == stun.MethodCreatePermission:
					peers = append(peers, peerOf(m))
				case !has || m.Type.Method == stun.MethodAllocate && (err != nil || family[0] != 2): // RFC 8656 section 18.9
					return refusal(m, stun.CodeAddrFamilyNotSupported)
				}
				return success(m, address(stun.AttrXORRelayedAddress, relayed), lifetime(serverLife))
			})
			s.client.cfg.IPv6 = true
			err := s.client.Allocate(context.Background())
			if !has {
				if !is(err, stun.CodeAddrFamilyNotSupported) {
					t.Errorf("of one that has none: %v", err)
				}
				return
			}
			if err != nil || s.client.Relayed() != relayed || s.client.Mapped().IsValid() {
				t.Fatalf("%v; at %v of %v, want %v and no other", err, s.client.Relayed(), s.client.Mapped(), relayed)
			}
			peer := netip.MustParseAddrPort("[2001:db8::2]:1000")
			s.client.Send(check(), peer)
			synctest.Wait()
			if want := netip.AddrPortFrom(peer.Addr(), 0); !slices.Equal(peers, []netip.AddrPort{want}) {
				t.Errorf("permission for %v, want %v", peers, want)
			}
		})
	}
}

// TestNothingIsReceivedBeforeTheAllocation, as users do not know it yet.
func TestNothingIsReceivedBeforeTheAllocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, nil)
		if !s.client.Receive(indication("early", peerAt)) {
			t.Error("data is for nobody")
		}
		if s.client.Receive([]byte("\x40\x00\x00\x04data")) {
			t.Error("a channel that there is not")
		}
		if err := s.client.Allocate(context.Background()); err != nil {
			t.Fatal(err)
		}
		s.client.Receive(indication("data", peerAt))
		if want := []packet{{"data", peerAt}}; !slices.Equal(s.received, want) {
			t.Errorf("received %v, want %v", s.received, want)
		}
		if s.client.Relayed() != relayedAt || s.client.Mapped() != mappedAt {
			t.Errorf("at %v of %v", s.client.Relayed(), s.client.Mapped())
		}
	})
}

func TestCheck(t *testing.T) {
	for _, test := range []struct {
		what      string
		answer    func(*server) func(*stun.Message) *stun.Message
		err, over bool
	}{
		{"answers", func(*server) func(*stun.Message) *stun.Message { return nil }, false, false},
		{"is silent", func(*server) func(*stun.Message) *stun.Message { return silent }, true, false},
		{"knows of none", func(s *server) func(*stun.Message) *stun.Message {
			return s.refusing(stun.MethodRefresh, stun.CodeAllocMismatch)
		}, true, true},
		{"is silent of none", func(*server) func(*stun.Message) *stun.Message {
			return func(m *stun.Message) *stun.Message {
				if m.Type.Method == stun.MethodBinding {
					return success(m)
				}
				return nil
			}
		}, true, true},
	} {
		t.Run(test.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := serve(t)
				s.will(test.answer(s))
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				if err := s.client.Check(ctx); (err != nil) != test.err {
					t.Errorf("check: %v", err)
				}
				s.will(nil)
				select {
				case <-s.client.Done():
					if !test.over || s.client.Err() == nil {
						t.Errorf("over: %v", s.client.Err())
					}
				default:
					if test.over {
						t.Error("it goes on")
					} else if err := s.client.Check(context.Background()); err != nil {
						t.Errorf("once it answers: %v", err)
					}
				}
			})
		})
	}
}

func TestAllocationIsRenewed(t *testing.T) {
	for _, test := range []struct {
		life, every time.Duration
	}{{serverLife, serverLife / 2}, {time.Hour, time.Hour / 2}, {time.Second, leastLifetime / 2}, {0, leastLifetime / 2}} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			s := newServer(t, func(m *stun.Message) *stun.Message {
				return success(m, address(stun.AttrXORRelayedAddress, relayedAt), lifetime(test.life))
			})
			if err := s.client.Allocate(context.Background()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10*test.every + time.Second)
			var want []time.Duration
			for i := range 10 {
				want = append(want, time.Duration(i+1)*test.every)
			}
			if got := s.times(stun.MethodRefresh, began); !slices.Equal(got, want) {
				t.Errorf("a life of %v was renewed after %v", test.life, got)
			}
		})
	}
}

// TestSilenceEndsAnAllocation only when it must have ended at the server.
func TestSilenceEndsAnAllocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t)
		s.will(silent)
		time.Sleep(serverLife - time.Minute)
		s.will(nil)
		time.Sleep(time.Minute)
		if err := s.client.Err(); err != nil {
			t.Fatalf("over in time: %v", err)
		}
		began := time.Now()
		s.will(silent)
		select {
		case <-s.client.Done():
		case <-time.After(time.Hour):
		}
		if took := time.Since(began); took < serverLife-time.Minute || took > serverLife+time.Minute || !errors.Is(s.client.Err(), errSilent) {
			t.Errorf("over after %v: %v", took, s.client.Err())
		}
	})
}

// TestLoss of each request, then of the answer to it, before one gets through.
func TestLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, tries := newServer(t, nil), map[transactionID]int{}
		s.will(func(m *stun.Message) *stun.Message {
			tries[m.TransactionID]++
			if tries[m.TransactionID] == 1 {
				return nil
			}
			if response := s.byTheBook(m); tries[m.TransactionID] > 2 {
				return response
			}
			return nil
		})
		if err := s.client.Allocate(context.Background()); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			for i := range 20 {
				s.client.Send([]byte("data"), netip.AddrPortFrom(peerAt.Addr(), uint16(i+1)))
			}
			time.Sleep(time.Second)
		}
		// Permission is there once the first channel is.
		if relayed, byChannel, lost := s.took(); byChannel != 20 || lost > 0 || len(relayed) != 20+maxWaiting {
			t.Errorf("%d relayed, %d by a channel, %d lost, want %d, 20 and 0", len(relayed), byChannel, lost, 20+maxWaiting)
		}
	})
}

// TestCloseInFullCourse has senders and receivers who do not know of it.
func TestCloseInFullCourse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t)
		var using sync.WaitGroup
		for i := range 8 {
			peer := netip.AddrPortFrom(peerAt.Addr(), uint16(i+1))
			using.Go(func() {
				for range 50 {
					s.client.Send([]byte("data"), peer)
					s.client.Send(check(), netip.MustParseAddrPort(fmt.Sprintf("198.51.100.%d:1", i+2)))
					s.client.Receive(indication("data", peer))
					time.Sleep(time.Millisecond)
				}
			})
		}
		time.Sleep(20 * time.Millisecond)
		s.client.Close()
		synctest.Wait()
		asked := len(s.asked)
		using.Wait()
		if !errors.Is(s.client.Err(), ErrClosed) || len(s.asked) != asked {
			t.Errorf("%v; then %d requests", s.client.Err(), len(s.asked)-asked)
		}
		s.client.Close() // again
	})
}
