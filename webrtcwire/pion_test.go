package webrtcwire

import (
	"bytes"
	"io"
	"testing"
	"time"
)

// TestPion transfers both ways with pion/webrtc, which offers or answers, and sees its end.
func TestPion(t *testing.T) {
	for _, offers := range []bool{true, false} {
		t.Run(map[bool]string{true: "pion offers", false: "pion answers"}[offers], func(t *testing.T) {
			conn, theirs := connectPion(t, loopbackTransport(t, nil), pionPeer(t, nil), offers)
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
