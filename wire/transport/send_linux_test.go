package transport

import (
	"errors"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// refuseSegments has u take the system for one that knows no segments.
func refuseSegments(u *UDPSocket) { u.sender.refused.Store(true) }

// TestARefusedTrainGoesPacketByPacket has a kernel that knows no segments, and one that
// refuses a train because of its address.
func TestARefusedTrainGoesPacketByPacket(t *testing.T) {
	for _, test := range []struct {
		err  error
		want bool
	}{{unix.EIO, true}, {unix.ENOPROTOOPT, true}, {unix.EOPNOTSUPP, true}, {unix.EINVAL, false}, {unix.EPERM, false}} {
		if got := refusesSegments(test.err); got != test.want {
			t.Errorf("%v: segments are refused for good: %v, want %v", test.err, got, test.want)
		}
	}
	u := listenLoopback(t)
	refuseSegments(u)
	l := u.Lend(ClassUTP)
	var b Batch
	for range 3 {
		b.Add(utpPacket, u.LocalAddr().AddrPort())
	}
	if err := u.WriteBatch(&b); err != nil {
		t.Fatal(err)
	}
	l.SetReadDeadline(time.Now().Add(10 * time.Second))
	for range 3 {
		if n, _, err := l.ReadFromUDPAddrPort(make([]byte, 100)); n != len(utpPacket) || err != nil {
			t.Fatal(n, err)
		}
	}
}

// TestSegmentsInFragmentsAreToldOf: before Linux 6.14 the kernel said EINVAL of segments larger than the path
// takes. All say so of more than there may be, which go one by one, too.
func TestSegmentsInFragmentsAreToldOf(t *testing.T) {
	u, to := listenLoopback(t), receivers(t)[0]
	const packets = 130
	b := make([]byte, packets)
	n, err := u.WriteSegments(b, 1, to.LocalAddr().(*net.UDPAddr).AddrPort())
	if n != len(b) || !errors.Is(err, unix.EMSGSIZE) {
		t.Errorf("%d bytes sent, %v; want %d, EMSGSIZE", n, err, len(b))
	}
	for i := range packets {
		if n, _, err := to.ReadFromUDPAddrPort(b); n != 1 || err != nil {
			t.Fatalf("packet %d: %d bytes, %v", i, n, err)
		}
	}
	if u.sender.refused.Load() {
		t.Error("no segments are sent any more")
	}
}

// TestArrivalIsOnTheMonotonicClock: a clock that is set moves no packet.
func TestArrivalIsOnTheMonotonicClock(t *testing.T) {
	now := time.Now()
	for age, want := range map[time.Duration]time.Duration{
		3 * time.Millisecond: 3 * time.Millisecond, time.Hour: 0, -time.Hour: 0, -time.Millisecond: 0,
	} {
		got := arrival(unix.NsecToTimespec(now.Add(-age).UnixNano()), now)
		if now.Sub(got) != want {
			t.Errorf("stamped %v ago: came %v ago, want %v", age, now.Sub(got), want)
		}
	}
}
