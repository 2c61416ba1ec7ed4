package transport

import (
	"net"
	"strings"
	"testing"
)

func port(a net.Addr) int {
	switch a := a.(type) {
	case *net.TCPAddr:
		return a.Port
	case *net.UDPAddr:
		return a.Port
	}
	return 0
}

func TestListenBothTakesOneNumber(t *testing.T) {
	for _, host := range []string{"", "127.0.0.1"} {
		ln, udp, err := ListenBoth(ListenOptions{Host: host})
		if err != nil {
			t.Fatal(err)
		}
		if port(ln.Addr()) != port(udp.LocalAddr()) {
			t.Errorf("TCP %v, UDP %v", ln.Addr(), udp.LocalAddr())
		}
		ln.Close()
		udp.Close()
	}
}

func TestPortInUse(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()

	for network, busy := range map[string]int{"TCP": port(tcp.Addr()), "UDP": port(udp.LocalAddr())} {
		_, _, err := ListenBoth(ListenOptions{Host: "127.0.0.1", Port: busy})
		if err == nil || !strings.Contains(err.Error(), network) || !strings.Contains(err.Error(), "--port 0") {
			t.Errorf("%s port in use: %v", network, err)
		}
		ln, u, err := ListenBoth(ListenOptions{Host: "127.0.0.1", Port: busy, Fallback: true})
		if err != nil {
			t.Fatal(err)
		}
		if port(ln.Addr()) == busy || port(ln.Addr()) != port(u.LocalAddr()) {
			t.Errorf("fell back from %d to TCP %v, UDP %v", busy, ln.Addr(), u.LocalAddr())
		}
		ln.Close()
		u.Close()
	}
	if ln, err := ListenTCP(ListenOptions{Host: "127.0.0.1", Port: port(tcp.Addr()), Fallback: true}); err != nil {
		t.Error(err)
	} else {
		ln.Close()
	}
}

func TestListenOnAnAddressThatIsNotOurs(t *testing.T) {
	if _, _, err := ListenBoth(ListenOptions{Host: "192.0.2.1", Fallback: true}); err == nil {
		t.Error("no error")
	}
}
