package transport

import (
	"errors"
	"net/netip"
	"syscall"
	"testing"
)

// What does not go in one piece is refused, and later packets are cut again where they must be.
func TestWriteWhole(t *testing.T) {
	u, err := ListenUDP(ListenOptions{Host: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	l := u.Lend(ClassUTP)
	to := u.LocalAddr().AddrPort()
	if _, err := l.WriteWhole(make([]byte, 1400), to); err != nil {
		t.Errorf("1400 bytes: %v", err)
	}
	// The interface of loopback takes 65,536 bytes with headers at most, and a UDP packet 65,507.
	if _, err := l.WriteWhole(make([]byte, 65508), to); !errors.Is(err, syscall.EMSGSIZE) {
		t.Errorf("65,508 bytes: %v, want EMSGSIZE", err)
	}
	l.Close()
	if _, err := l.WriteWhole(nil, netip.AddrPort{}); err == nil {
		t.Error("a share that was given back sends")
	}
}
