package transport

import (
	"errors"
	"net/netip"
	"syscall"
	"testing"
)

// What does not go in one piece is refused, and other packets are cut before and after that where they
// must be.
func TestWriteWhole(t *testing.T) {
	u, err := ListenUDP(ListenOptions{Host: "::1"})
	if err != nil {
		t.Skipf("no IPv6: %v", err)
	}
	defer u.Close()
	l := u.Lend(ClassUTP)
	to := u.LocalAddr().AddrPort()
	if _, err := l.WriteWhole(make([]byte, 1400), to); err != nil {
		t.Errorf("1400 bytes: %v", err)
	}
	// The interface of loopback takes 65,536 bytes, of which 48 are headers; a UDP packet may have more.
	long := make([]byte, 65_500)
	for range 2 {
		if _, err := l.WriteToUDPAddrPort(long, to); err != nil {
			t.Errorf("65,500 bytes, in pieces: %v", err)
		}
		if _, err := l.WriteWhole(long, to); !errors.Is(err, syscall.EMSGSIZE) {
			t.Errorf("65,500 bytes, whole: %v, want EMSGSIZE", err)
		}
	}
	if _, err := l.WriteToUDPAddrPort(long, to); err != nil {
		t.Errorf("65,500 bytes, in pieces again: %v", err)
	}
	if _, err := l.WriteFragmentable(long, to); err != nil {
		t.Errorf("65,500 bytes, in pieces of 1280: %v", err)
	}
	if _, err := l.WriteWhole(make([]byte, 1400), to); err != nil {
		t.Errorf("1400 bytes, whole again: %v", err)
	}
	l.Close()
	if _, err := l.WriteWhole(nil, netip.AddrPort{}); err == nil {
		t.Error("a share that was given back sends")
	}
	if _, err := l.WriteFragmentable(nil, netip.AddrPort{}); err == nil {
		t.Error("a share that was given back sends in fragments")
	}
}

// Packets that are sent in small fragments let no others that are sent meanwhile seem too large for their path.
func TestFragmentsLeaveTrainsAlone(t *testing.T) {
	u, err := ListenUDP(ListenOptions{Host: "::1"})
	if err != nil {
		t.Skipf("no IPv6: %v", err)
	}
	defer u.Close()
	to := u.LocalAddr().AddrPort()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 20_000 {
			if _, err := u.WriteFragmentable(make([]byte, 100), to); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	train := make([]byte, 10*1400)
	for {
		select {
		case <-done:
			return
		default:
		}
		if n, err := u.WriteSegments(train, 1400, to); err != nil || n != len(train) {
			t.Errorf("%d bytes of %d: %v", n, len(train), err)
			<-done
			return
		}
	}
}
