package netns

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// VPN links a client to a public host by a tunnel: a device "tun0" of each, point to point,
// between which this process carries the packets. The client has an address there, and the
// host the first one of that one's /24; it lets out under its own what comes by the tunnel. What
// the client sends by it is left to routes that the test adds.
func (w *World) VPN(client *Host, at netip.Prefix, server *Host) (gateway netip.Addr) {
	w.t.Helper()
	gateway = netip.PrefixFrom(at.Addr(), 24).Masked().Addr().Next()
	server.exec("", "sysctl", "-qw", "net.ipv4.ip_forward=1")
	server.Nft("table ip vpn {\nchain leave {\n type nat hook postrouting priority 100\n oifname \"eth0\" masquerade\n}\n}\n")
	var carrying sync.WaitGroup
	w.t.Cleanup(carrying.Wait) // after the devices have been closed
	here, there := w.tunnel(client, at), w.tunnel(server, netip.PrefixFrom(gateway, 24))
	carrying.Go(func() { carry(here, there) })
	carrying.Go(func() { carry(there, here) })
	return gateway
}

// tunnel makes a host's end of a tunnel, which lasts as long as the test.
func (w *World) tunnel(host *Host, at netip.Prefix) (end *os.File) {
	w.t.Helper()
	var err error
	host.Do(func() { end, err = openTUN("tun0") })
	if err != nil {
		w.cannot(err.Error())
	}
	w.t.Cleanup(func() { _ = end.Close() })
	host.batch("address add "+at.String()+" dev tun0", "link set tun0 up")
	return end
}

// openTUN makes a TUN device that lasts until it is closed.
func openTUN(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	request, err := unix.NewIfreq(name)
	if err == nil {
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("make the device %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// carry hands on packets until a device is closed. What the other does not take gets lost.
func carry(from, to *os.File) {
	packet := make([]byte, 1<<16)
	for {
		n, err := from.Read(packet)
		if err != nil {
			return
		}
		if _, err := to.Write(packet[:n]); errors.Is(err, os.ErrClosed) {
			return
		}
	}
}
