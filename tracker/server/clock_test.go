package server

import (
	"encoding/binary"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestTimePasses(t *testing.T) {
	var log syncBuffer
	s, err := New(Config{Interval: time.Minute, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	from := "192.0.2.1:1"
	conn := binary.BigEndian.Uint64(spoofing(s, connectPacket(), from)[8:])
	spoofing(s, announcePacket(conn, hash(1), id(1), 5, 0, 0, 1), from)
	host := netip.MustParseAddr("192.0.2.1")
	for range 3 {
		s.once.warn("too much", host)
	}
	if s.Table().Size().Peers4 != 1 {
		t.Fatal("no peer")
	}
	now := time.Now()
	for range 200 { // one and a half intervals, and the time of a sweep
		now = now.Add(time.Second)
		s.second(now)
	}
	if n := s.Table().Size(); n.Peers4 != 0 || n.Swarms != 0 {
		t.Errorf("%+v after 200 s with an interval of 60 s", n)
	}
	s.once.warn("too much", host)
	if n := strings.Count(log.String(), "too much"); n != 1 {
		t.Errorf("logged %d times in 200 s", n)
	}
	for range onceAgain {
		now = now.Add(time.Second)
		s.second(now)
	}
	s.once.warn("too much", host)
	if n := strings.Count(log.String(), "too much"); n != 2 {
		t.Errorf("logged %d times in 800 s", n)
	}
	if r := spoofing(s, announcePacket(conn, hash(1), id(1), 5, 0, 0, 1), from); binary.BigEndian.Uint32(r) != actionError {
		t.Errorf("a connection id of 800 s ago was taken: %x", r)
	}
}

func TestRateFollowsWhatHappens(t *testing.T) {
	var r rate
	total := int64(0)
	for range 100 {
		total += 50
		r.tick(total)
	}
	if got := r.smoothed.Load(); got < 49_900 || got > 50_000 {
		t.Errorf("%d thousandths a second of 50", got)
	}
	for range 200 {
		r.tick(total)
	}
	if got := r.smoothed.Load(); got > 100 {
		t.Errorf("%d thousandths a second of none", got)
	}
}

func TestIntervalsVary(t *testing.T) {
	s, err := New(Config{Interval: 1000 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	seen := make(map[time.Duration]bool)
	for range 1000 {
		i := s.interval()
		if i < 1000*time.Second || i > 1100*time.Second {
			t.Fatal(i)
		}
		seen[i/time.Second] = true
	}
	if len(seen) < 80 {
		t.Errorf("%d different intervals", len(seen))
	}
}

// TestListThatChangesIsSeen waits for the look that the server takes by itself.
func TestListThatChangesIsSeen(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 5 s: not with -short")
	}
	deny := filepath.Join(t.TempDir(), "deny")
	if err := os.WriteFile(deny, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, Config{Deny: deny})
	h := hash(1)
	if err := s.lists.check(&h); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(deny, []byte("011d?\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a warning", func() bool { return strings.Contains(s.log.String(), "what it held before stays") })
}
