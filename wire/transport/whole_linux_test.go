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
	l.Close()
	if _, err := l.WriteWhole(nil, netip.AddrPort{}); err == nil {
		t.Error("a share that was given back sends")
	}
}
