package client

import (
	"context"
	"errors"
	"net/netip"
	"strings"

	"github.com/causeway-bt/causeway/client/network"
	"github.com/causeway-bt/causeway/client/portmap"
	"github.com/causeway-bt/causeway/client/swarm"
)

// What is of interest when something does not work; package client/doctor asks.

// Network is how the client reaches the outside.
func (c *Client) Network() *network.Network { return c.net }

// PortMapping returns what is known of the mapping of our port, and a channel that is closed
// when that changes.
func (c *Client) PortMapping() (portmap.Status, <-chan struct{}) {
	if c.mapper == nil {
		return portmap.Status{State: portmap.None, Err: portmap.ErrOff}, nil
	}
	return c.mapper.Status()
}

// DHTNodes is how many nodes of the DHT are known to answer.
func (c *Client) DHTNodes() int {
	if c.shared.DHT == nil {
		return 0
	}
	return c.shared.DHT.NumNodes()
}

// CameIn is how many TCP connections peers of other networks have opened to us.
func (c *Client) CameIn() int { return int(c.cameIn.Load()) }

// ErrNoWebRTC says that WebRTC is switched off.
var ErrNoWebRTC = errors.New("WebRTC is switched off")

// ICECandidates returns how browsers would be told to reach us now: the types of our ICE
// candidates ("host", "srflx", "relay"; RFC 8839).
func (c *Client) ICECandidates(ctx context.Context) (types []string, err error) {
	if c.shared.RTC == nil {
		return nil, ErrNoWebRTC
	}
	offer, err := c.shared.RTC.Offer(ctx)
	if err != nil {
		return nil, err
	}
	defer offer.Close()
	for line := range strings.Lines(offer.SDP) {
		if !strings.HasPrefix(line, "a=candidate:") {
			continue
		}
		if _, kind, found := strings.Cut(line, " typ "); found {
			kind, _, _ = strings.Cut(strings.TrimSpace(kind), " ")
			types = append(types, kind)
		}
	}
	return types, nil
}

// Search returns what came of looking for classic peers, in all swarms of the torrent. own,
// which is called in the torrent's event loop, says which addresses are those of this client
// as others see it.
func (t *Torrent) Search(own func(netip.AddrPort) bool) (sum swarm.Search) {
	result := make(chan swarm.Search, 1)
	if !t.do(func() {
		var sum swarm.Search
		for _, s := range t.swarms {
			s.Search(&sum, own)
		}
		result <- sum
	}) {
		return sum
	}
	select {
	case sum = <-result:
	case <-t.ended:
	}
	return sum
}
