package transport

import (
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// WriteWhole sends one packet that neither this system nor a router may cut: to find out how
// large a packet the path takes. One that is too large for the interface, or for the
// path as far as the system knows it, fails with EMSGSIZE.
func (u *UDPSocket) WriteWhole(b []byte, to netip.AddrPort) (int, error) {
	u.whole.Lock()
	defer u.whole.Unlock()
	// Others may send meanwhile. Their packets are as whole, but for those longer than the path is known to
	// take, which come again.
	u.discover(unix.IP_PMTUDISC_DO)
	defer u.discover(unix.IP_PMTUDISC_WANT) // the system's own choice
	return u.conn.WriteToUDPAddrPort(b, to)
}

// fragmentMTU is the least MTU of IPv6 (RFC 8200, 5).
const fragmentMTU = 1280

// WriteFragmentable sends one packet that IPv4 routers may cut, for paths that have become narrower and say nothing
// of it: by itself Linux forbids them to. Of IPv6, a packet larger than the interface takes, or the path as far as
// the system knows it, goes in fragments of 1280 bytes, which pass everywhere; a smaller one goes whole.
func (u *UDPSocket) WriteFragmentable(b []byte, to netip.AddrPort) (int, error) {
	u.whole.Lock()
	defer u.whole.Unlock()
	// Others' packets may be cut meanwhile. Trains of them that are larger are refused, and come again: see
	// WriteSegments.
	if to.Addr().Unmap().Is4() {
		u.discover(unix.IP_PMTUDISC_DONT)
		defer u.discover(unix.IP_PMTUDISC_WANT)
	} else {
		u.fragment(fragmentMTU)
		defer u.fragment(0)
	}
	return u.conn.WriteToUDPAddrPort(b, to)
}

// fragment sets the size of IPv6 fragments, 0 for what paths take.
func (u *UDPSocket) fragment(mtu int) {
	_ = u.sender.raw.Control(func(fd uintptr) {
		// Where this fails nothing is cut.
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MTU, mtu)
	})
}

// discover sets how the socket discovers the MTU of paths, see ip(7), for both families.
func (u *UDPSocket) discover(how int) {
	// A socket may have one family only.
	_ = u.sender.raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, how)
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, how)
	})
}

// WriteWhole is [UDPSocket.WriteWhole], of the share.
func (l *Lent) WriteWhole(b []byte, to netip.AddrPort) (int, error) {
	if l.hasEnded() {
		return 0, l.writeError(net.ErrClosed)
	}
	return l.socket.WriteWhole(b, to)
}

// WriteFragmentable is [UDPSocket.WriteFragmentable], of the share.
func (l *Lent) WriteFragmentable(b []byte, to netip.AddrPort) (int, error) {
	if l.hasEnded() {
		return 0, l.writeError(net.ErrClosed)
	}
	return l.socket.WriteFragmentable(b, to)
}
