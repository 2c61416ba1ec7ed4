package turnclient

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/stun/v4"
)

// TestRenewalThatFails: a permission is asked for again, though data goes by a channel.
func TestRenewalThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t)
		for i := range 420 {
			s.client.Send([]byte("data"), peerAt)
			switch i {
			case 180:
				s.will(func(m *stun.Message) *stun.Message {
					if m.Type.Method == stun.MethodCreatePermission {
						return nil
					}
					return s.byTheBook(m)
				})
			case 230:
				s.will(nil)
			}
			time.Sleep(time.Second)
		}
		if _, _, lost := s.took(); lost > 0 {
			t.Errorf("%d packets lost", lost)
		}
	})
}

// TestCredentialsThatEndForTwo requests at a time: both use the newer ones.
func TestCredentialsThatEndForTwo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := stun.NewLongTermIntegrity("1:me", "r", "first"), stun.NewLongTermIntegrity("2:me", "r", "second")
		key := first
		s := newServer(t, nil)
		s.will(func(m *stun.Message) *stun.Message {
			if key.Check(m) != nil {
				return refusal(m, 401, stun.NewRealm("r"), stun.NewNonce("n"))
			}
			response := s.byTheBook(m)
			_ = key.AddTo(response)
			return response
		})
		s.client.SetCredentials("1:me", "first")
		if err := s.client.Allocate(context.Background()); err != nil {
			t.Fatal(err)
		}
		s.mu.Lock()
		key = second
		s.mu.Unlock()
		s.client.SetCredentials("2:me", "second")
		var answers []func()
		s.will(func(m *stun.Message) *stun.Message {
			if second.Check(m) == nil {
				response := s.byTheBook(m)
				_ = second.AddTo(response)
				return response
			}
			raw := refusal(m, 401, stun.NewRealm("r"), stun.NewNonce("n")).Raw
			answers = append(answers, func() { s.client.Receive(raw) })
			return nil
		})
		for i := range 2 {
			s.client.Send(check(), hostAt(i))
		}
		synctest.Wait()
		done := make(chan error, 1)
		go func() { done <- s.client.Check(context.Background()) }()
		synctest.Wait()
		for _, answer := range answers {
			answer()
			synctest.Wait()
		}
		if err := <-done; err != nil || s.client.Err() != nil {
			t.Errorf("check: %v; %v", err, s.client.Err())
		}
		if relayed, _, _ := s.took(); len(relayed) != 2 {
			t.Errorf("%d were permitted", len(relayed))
		}
	})
}

// TestPasswordThatChanges under the same name.
func TestPasswordThatChanges(t *testing.T) {
	server := startPion(t)
	server.accept("me", "first")
	l := dial(t, "udp", server.addr)
	a := l.allocate("me", "first")
	server.accept("me", "second")
	a.SetCredentials("me", "second")
	if err := a.Check(testContext(t)); err != nil {
		t.Error(err)
	}
}

// TestAllocationThatIsLeftAndLoss: the answer to its end is lost, after which it is unknown.
func TestAllocationThatIsLeftAndLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left, heard := true, false
		s := newServer(t, nil)
		s.will(func(m *stun.Message) *stun.Message {
			switch {
			case m.Type.Method == stun.MethodAllocate && left:
				return refusal(m, stun.CodeAllocMismatch)
			case m.Type.Method == stun.MethodRefresh && left:
				left = false
				return nil // lost
			case m.Type.Method == stun.MethodRefresh && !heard:
				heard = true
				return refusal(m, stun.CodeAllocMismatch)
			}
			return s.byTheBook(m)
		})
		if err := s.client.Allocate(context.Background()); err != nil || s.client.Err() != nil {
			t.Errorf("%v, %v", err, s.client.Err())
		}
	})
}

// TestSilenceThatEndsInTheCheck: the way to the server is back just when that is looked after.
func TestSilenceThatEndsInTheCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, test := range []struct{ timeout, silence time.Duration }{
			{2 * time.Second, 1800 * time.Millisecond}, {2 * time.Second, 2500 * time.Millisecond}, {0, 0},
		} {
			s := serve(t)
			s.will(silent)
			ctx, cancel := context.WithTimeout(context.Background(), test.timeout)
			time.AfterFunc(test.silence, func() { s.will(nil) })
			_ = s.client.Check(ctx)
			cancel()
			if s.client.Err() != nil {
				t.Errorf("%+v: %v", test, s.client.Err())
			}
			s.client.Close()
		}
	})
}

func TestSilenceThatEndsInARenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t)
		time.Sleep(serverLife/2 - time.Second)
		s.will(silent)
		time.Sleep(10 * time.Second) // of ten minutes
		s.will(nil)
		time.Sleep(time.Minute)
		if s.client.Err() != nil {
			t.Error(s.client.Err())
		}
	})
}

// TestPeerThatIsUsedAgainBeforeItsChannelEnds, after its permission or just after its channel has ended.
func TestPeerThatIsUsedAgainBeforeItsChannelEnds(t *testing.T) {
	for _, after := range []time.Duration{permissionLife + time.Second, channelLife - 2*tendEvery, channelLife + time.Second} {
		t.Run(after.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := serve(t)
				s.client.Send([]byte("data"), peerAt)
				time.Sleep(after)
				s.took()
				for range 5 {
					s.client.Send([]byte("again"), peerAt)
					time.Sleep(time.Second)
				}
				if relayed, byChannel, lost := s.took(); len(relayed) != 5 || lost > 0 {
					t.Errorf("after %v: %d relayed, %d by a channel, %d lost", after, len(relayed), byChannel, lost)
				}
			})
		})
	}
}
