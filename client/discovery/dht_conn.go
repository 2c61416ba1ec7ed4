package discovery

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/anacrolix/torrent/bencode"

	"github.com/anacrolix/dht/v2/krpc"
)

const (
	// maxMessage is more than any message over UDP has; with values and nodes of both
	// families one comes to about 1400 bytes.
	maxMessage = 4 << 10
	// maxNesting is that of the deepest message: a list of values in the answer in
	// the message.
	maxNesting = 6
	// readErrorPause keeps a socket that fails again and again from spinning.
	readErrorPause = 50 * time.Millisecond
)

// nodeConn stands between the socket and the library, which ends the program when
// the socket fails, when a query lacks its arguments and when an address is cut
// short, and which logs what it cannot read and counts whatever methods strangers
// make up. Only messages that it can take pass.
type nodeConn struct {
	net.PacketConn

	closeOnce sync.Once
	closed    chan struct{}
	reader    sync.Mutex // held while the library reads
}

func newNodeConn(c net.PacketConn) *nodeConn {
	return &nodeConn{PacketConn: c, closed: make(chan struct{})}
}

// ReadFrom fails only once Close has been called.
func (c *nodeConn) ReadFrom(b []byte) (int, net.Addr, error) {
	c.reader.Lock()
	defer c.reader.Unlock()
	for {
		n, from, err := c.PacketConn.ReadFrom(b)
		select {
		case <-c.closed:
			return 0, nil, net.ErrClosed
		default:
		}
		if err != nil {
			c.pause(err)
			continue
		}
		addr, ok := from.(*net.UDPAddr)
		if !ok || !acceptable(b[:n]) {
			continue
		}
		ap := addr.AddrPort()
		ap = netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
		if sendable(ap) {
			return n, net.UDPAddrFromAddrPort(ap), nil
		}
	}
}

// pause waits after a failed read: a moment, or until Close if the socket is gone.
func (c *nodeConn) pause(err error) {
	var wait <-chan time.Time
	if !errors.Is(err, net.ErrClosed) && !errors.Is(err, os.ErrDeadlineExceeded) {
		timer := time.NewTimer(readErrorPause)
		defer timer.Stop()
		wait = timer.C
	}
	select {
	case <-c.closed:
	case <-wait:
	}
}

// errNotANode is returned for an address that no node can have.
var errNotANode = errors.New("not the address of a DHT node")

// WriteTo refuses addresses that strangers may have put in their lists of nodes to
// make us send where no node can be.
func (c *nodeConn) WriteTo(b []byte, to net.Addr) (int, error) {
	addr, ok := to.(*net.UDPAddr)
	if !ok || !sendable(addr.AddrPort()) {
		return 0, errNotANode
	}
	return c.PacketConn.WriteTo(b, to)
}

func (c *nodeConn) Close() error {
	c.closeOnce.Do(func() { close(c.closed) })
	return c.PacketConn.Close()
}

// waitClosed waits until Close has been called and the library has stopped reading.
func (c *nodeConn) waitClosed() {
	<-c.closed
	c.reader.Lock()
	//lint:ignore SA2001 the lock is only waited for
	c.reader.Unlock()
}

// acceptable says whether a packet is a message that the library can take and that
// this node has a use for.
func acceptable(b []byte) (ok bool) {
	if len(b) > maxMessage || !wellFormed(b) {
		return false
	}
	// What makes the library's decoder panic here would do so in its own goroutine.
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	var m krpc.Msg
	if bencode.Unmarshal(b, &m) != nil {
		return false
	}
	switch m.Y {
	case krpc.YQuery:
		return m.A != nil && acceptableQuery(m)
	case krpc.YResponse:
		return m.R != nil
	case krpc.YError:
		return m.E != nil
	}
	return false
}

func acceptableQuery(m krpc.Msg) bool {
	switch m.Q {
	case "ping", "find_node", "get_peers":
		return true
	case "announce_peer":
		return m.A.ImpliedPort || m.A.Port != nil && *m.A.Port > 0 && *m.A.Port <= 65535
	}
	return false
}

// wellFormed says whether b is one bencoded dictionary (BEP 3) whose strings lie
// within it and which is nested no deeper than a message can be. The library's decoder
// believes the lengths of strings and follows any nesting.
func wellFormed(b []byte) bool {
	if len(b) == 0 || b[0] != 'd' {
		return false
	}
	depth := 0
	for i := 0; i < len(b); {
		switch c := b[i]; {
		case c == 'd' || c == 'l':
			if depth++; depth > maxNesting {
				return false
			}
			i++
		case c == 'e':
			depth--
			i++
			if depth == 0 {
				return i == len(b)
			}
		case c == 'i':
			n := integerLen(b[i:])
			if n == 0 {
				return false
			}
			i += n
		default:
			n := stringLen(b[i:])
			if n == 0 {
				return false
			}
			i += n
		}
	}
	return false
}

// integerLen returns the length of the integer that b starts with, 0 if none does.
func integerLen(b []byte) int {
	const longest = len("i-9223372036854775808e")
	for i := 1; i < min(len(b), longest); i++ {
		switch c := b[i]; {
		case c == 'e' && b[i-1] != 'i' && b[i-1] != '-':
			return i + 1
		case c == '-' && i == 1:
		case c < '0' || c > '9':
			return 0
		}
	}
	return 0
}

// stringLen returns the length of the string that b starts with, its header
// included, 0 if none does.
func stringLen(b []byte) int {
	n := 0
	for i, c := range b {
		switch {
		case c == ':' && i > 0:
			if n += i + 1; n > len(b) {
				return 0
			}
			return n
		case c < '0' || c > '9' || n > maxMessage:
			return 0
		}
		n = n*10 + int(c-'0')
	}
	return 0
}
