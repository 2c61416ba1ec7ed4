package relay

import (
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/stun/v4"
)

// answers is a UDP socket that counts what is written to it.
type answers struct {
	net.PacketConn
	written chan int
}

func (a *answers) WriteTo(b []byte, _ net.Addr) (int, error) {
	select {
	case a.written <- len(b):
	default:
	}
	return len(b), nil
}

func (*answers) LocalAddr() net.Addr { return &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// FuzzDeliver gives packets of strangers to the server, which must go on answering.
func FuzzDeliver(f *testing.F) {
	for _, method := range []stun.Method{stun.MethodBinding, stun.MethodAllocate, stun.MethodRefresh, stun.MethodSend, stun.MethodChannelBind, stun.MethodCreatePermission} {
		for _, class := range []stun.MessageClass{stun.ClassRequest, stun.ClassIndication} {
			m := stun.MustBuild(stun.TransactionID, stun.NewType(method, class), stun.NewUsername("9999999999:a"),
				stun.NewRealm(DefaultRealm), stun.NewNonce("nonce"), stun.XORMappedAddress{IP: net.IPv4(10, 0, 0, 1), Port: 1},
				stun.NewShortTermIntegrity("x"), stun.Fingerprint)
			f.Add(m.Raw)
		}
	}
	f.Add([]byte{0x40, 0, 0, 4, 1, 2, 3, 4})
	var now atomic.Int64
	server, err := New(Config{Secret: secret, Now: func() time.Time {
		return time.Unix(now.Add(1), 0) // nobody asks too often
	}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { server.Close() })
	conn := &answers{written: make(chan int, 100)}
	port, err := server.Port(conn)
	if err != nil {
		f.Fatal(err)
	}
	from := netip.MustParseAddrPort("192.0.2.1:1234")
	binding := stun.MustBuild(stun.TransactionID, stun.BindingRequest)
	f.Fuzz(func(t *testing.T, b []byte) {
		port.Deliver(b, from)
		port.Deliver(binding.Raw, from) // the same reader's
		for {
			select {
			case n := <-conn.written:
				if n == 40 { // the answer to a binding request over IPv4, and nothing else
					return
				}
			case <-time.After(patience):
				t.Fatal("no answer any more")
			}
		}
	})
}
