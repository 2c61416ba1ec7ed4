package webrtcwire

import (
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// TestDetourThatStandsStill holds up nobody, and its end not for long.
func TestDetourThatStandsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, carries, sent := time.Now(), make(chan struct{}), 0
		d := newDetour(func(b []byte) (int, error) {
			<-carries
			sent++
			return len(b), io.ErrClosedPipe
		})
		for range 10 * detourQueue {
			d.send([]byte("packet"))
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("sending took %v", took)
		}
		d.close()
		if took := time.Since(began); took != detourFarewell {
			t.Errorf("the end took %v", took)
		}
		d.send([]byte("after the end"))
		d.close()
		close(carries)
		<-d.over
		if sent < detourQueue || sent > detourQueue+1 { // one is under way
			t.Errorf("%d packets were sent", sent)
		}
	})
}

// TestDetourSaysFarewell: what was sent last goes out before the end.
func TestDetourSaysFarewell(t *testing.T) {
	var sent []string
	d := newDetour(func(b []byte) (int, error) {
		time.Sleep(10 * time.Millisecond)
		sent = append(sent, string(b))
		return len(b), nil
	})
	d.send([]byte("data"))
	d.send([]byte("farewell"))
	d.close()
	if len(sent) != 2 || sent[1] != "farewell" {
		t.Errorf("sent: %q", sent)
	}
	newDetour(nil).close() // nothing was sent
}
