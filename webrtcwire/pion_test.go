package webrtcwire

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
)

// pionPeer is pion/webrtc with its defaults, on loopback.
func pionPeer(t *testing.T) *webrtc.PeerConnection {
	t.Helper()
	settings := webrtc.SettingEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() })
	settings.DetachDataChannels()
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(settings)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pc.GracefulClose(); err != nil {
			t.Error(err)
		}
	})
	return pc
}

// described sets a description of pion's own and returns it with its candidates.
func described(t *testing.T, pc *webrtc.PeerConnection, description webrtc.SessionDescription, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(description); err != nil {
		t.Fatal(err)
	}
	<-gathered
	return pc.LocalDescription().SDP
}

// TestPion transfers both ways with pion/webrtc, which offers or answers, and sees its end.
func TestPion(t *testing.T) {
	for _, offers := range []bool{true, false} {
		t.Run(map[bool]string{true: "pion offers", false: "pion answers"}[offers], func(t *testing.T) {
			transport, pc := loopbackTransport(t, nil), pionPeer(t)
			opened := make(chan io.ReadWriteCloser, 1)
			use := func(channel *webrtc.DataChannel) {
				channel.OnOpen(func() {
					raw, err := channel.Detach()
					if err != nil {
						t.Error(err)
					}
					opened <- raw
				})
			}
			ctx := testContext(t)
			var conn *Conn
			if offers {
				channel, err := pc.CreateDataChannel("pion", nil)
				if err != nil {
					t.Fatal(err)
				}
				use(channel)
				offer, err := pc.CreateOffer(nil)
				answer, err := transport.Answer(ctx, described(t, pc, offer, err))
				if err != nil {
					t.Fatal(err)
				}
				if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer.SDP}); err != nil {
					t.Fatal(err)
				}
				if conn, err = answer.Wait(ctx); err != nil {
					t.Fatal(err)
				}
			} else {
				pc.OnDataChannel(use)
				offer, err := transport.Offer(ctx)
				if err != nil {
					t.Fatal(err)
				}
				if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer.SDP}); err != nil {
					t.Fatal(err)
				}
				answer, err := pc.CreateAnswer(nil)
				if conn, err = offer.Accept(ctx, described(t, pc, answer, err)); err != nil {
					t.Fatal(err)
				}
			}
			theirs := <-opened
			throughPion(t, conn, conn, theirs)
			throughPion(t, conn, theirs, conn)
			if offers {
				if err := theirs.Close(); err != nil { // resets its stream (RFC 8831 section 6.7)
					t.Fatal(err)
				}
				if _, err := conn.Read(make([]byte, 1)); err != io.EOF { //nolint:errorlint // it must be io.EOF itself
					t.Errorf("after pion's close: %v, want io.EOF", err)
				}
				return
			}
			if err := conn.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := theirs.Read(make([]byte, 1)); err == nil {
				t.Error("pion read something after our close")
			}
		})
	}
}

func throughPion(t *testing.T, conn *Conn, from io.Writer, to io.Reader) {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(testTimeout)); err != nil {
		t.Fatal(err)
	}
	want := randomBytes(7, 4<<20)
	sent := make(chan error, 1)
	go func() {
		var err error
		for rest := want; len(rest) > 0 && err == nil; {
			n := min(len(rest), 16<<10)
			_, err = from.Write(rest[:n])
			rest = rest[n:]
		}
		sent <- err
	}()
	got := make([]byte, 0, len(want))
	buffer := make([]byte, maxReceive)
	for len(got) < len(want) {
		n, err := to.Read(buffer)
		if err != nil {
			t.Fatalf("after %d bytes: %v", len(got), err)
		}
		got = append(got, buffer[:n]...)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("the bytes arrived changed")
	}
}
