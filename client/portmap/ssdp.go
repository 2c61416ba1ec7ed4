package portmap

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"golang.org/x/net/ipv4"
)

// SSDP (UPnP Device Architecture 2.0, section 1.3).
const (
	ssdpGroup = "239.255.255.250:1900"
	// ssdpSends is how often the question is sent: it is UDP, and devices are slow.
	ssdpSends = 3
	ssdpEvery = 500 * time.Millisecond
	// ssdpSpread is within how many seconds devices shall answer.
	ssdpSpread = 1
	ssdpTTL    = 2
	// maxSSDP bounds a packet, maxPackets those that are read, maxDevices the devices that are
	// looked at.
	maxSSDP    = 2048
	maxPackets = 200
	maxDevices = 4
)

// ssdpTargets are the devices that are looked for.
var ssdpTargets = []string{
	"urn:schemas-upnp-org:device:InternetGatewayDevice:2",
	"urn:schemas-upnp-org:device:InternetGatewayDevice:1",
}

// search asks for gateways on the network of w, and hands on where their descriptions are,
// until ctx ends.
func search(ctx context.Context, n Network, w way, found func(location *url.URL)) error {
	conn, err := n.ListenPacket(ctx, "udp4", netip.AddrPortFrom(w.local, 0).String())
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Now()) })()
	multicast := ipv4.NewPacketConn(conn)
	// Where these fail, the system's choice is as good.
	_ = multicast.SetMulticastInterface(&w.iface)
	_ = multicast.SetMulticastTTL(ssdpTTL)
	group := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(ssdpGroup))
	ask := func() error {
		var last error
		for _, target := range ssdpTargets {
			packet := fmt.Sprintf("M-SEARCH * HTTP/1.1\r\nHOST: %s\r\nMAN: \"ssdp:discover\"\r\nMX: %d\r\nST: %s\r\n\r\n", ssdpGroup, ssdpSpread, target)
			if _, err := conn.WriteTo([]byte(packet), group); err != nil {
				last = err
			}
		}
		return last
	}
	if err := ask(); err != nil {
		return err
	}
	var seen []string
	buffer := make([]byte, maxSSDP)
	for sent, packets := 1, 0; packets < maxPackets && len(seen) < maxDevices; {
		if sent < ssdpSends {
			conn.SetReadDeadline(time.Now().Add(ssdpEvery))
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		size, from, err := conn.ReadFrom(buffer)
		if timeout, ok := err.(net.Error); ok && timeout.Timeout() && ctx.Err() == nil && sent < ssdpSends {
			if err := ask(); err != nil {
				return err
			}
			if sent++; sent == ssdpSends {
				conn.SetReadDeadline(time.Time{})
			}
			continue
		}
		if err != nil {
			return err
		}
		packets++
		sender, ok := from.(*net.UDPAddr)
		if !ok {
			continue
		}
		location := parseSSDP(buffer[:size])
		if location == nil || !w.trusts(sender.AddrPort().Addr().Unmap(), location) || slices.Contains(seen, location.String()) {
			continue
		}
		seen = append(seen, location.String())
		found(location)
	}
	return nil
}

// parseSSDP returns where an answer says that the device's description is, or nil.
func parseSSDP(b []byte) *url.URL {
	response, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), nil)
	if err != nil {
		return nil
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK || !slices.Contains(ssdpTargets, response.Header.Get("St")) {
		return nil
	}
	location, err := url.Parse(response.Header.Get("Location"))
	if err != nil {
		return nil
	}
	return location
}

// trusts reports whether a device may send us to a URL: only to itself, and only if it is on
// our own network. Anybody else's word would have us send requests to whom he likes.
func (w way) trusts(sender netip.Addr, location *url.URL) bool {
	host, err := netip.ParseAddr(location.Hostname())
	if err != nil || location.Scheme != "http" || host != sender || location.User != nil {
		return false
	}
	return slices.Contains(w.gateways, host) || slices.ContainsFunc(w.nets, func(p netip.Prefix) bool { return p.Contains(host) })
}
