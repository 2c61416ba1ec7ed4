package turnclient

import (
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/stun/v4"
)

const (
	// firstChannel to lastChannel are the numbers of channels (RFC 8656 section 12).
	firstChannel = 0x4000
	lastChannel  = 0x4fff

	// permissionLife and channelLife are the server's (RFC 8656 sections 9 and 12), after which
	// numberLife keeps a number from meaning another peer. What is in use is renewed well before.
	permissionLife = 5 * time.Minute
	channelLife    = 10 * time.Minute
	numberLife     = 5 * time.Minute
	renewal        = 2 * time.Minute // before the end
	tendEvery      = 20 * time.Second

	// refusedFor is how long an address that the server refuses is not asked for again.
	refusedFor = 30 * time.Second

	// maxHosts bounds the addresses that may send to us, maxPeers their ports, and maxAsking those
	// that the server is asked for at a time: a crowd of peers may name many that lead nowhere.
	maxHosts  = 2048
	maxPeers  = 2 * maxHosts
	maxAsking = 256

	// maxWaiting bounds the packets to an address that wait for its permission.
	maxWaiting = 8
)

// peers are those to whom packets were sent.
type peers struct {
	sync.RWMutex
	hosts    map[netip.Addr]*host
	peers    map[netip.AddrPort]*peer
	channels map[uint16]*peer // also of channels that are over, until their numberLife is
	next     uint16           // channel to be tried
	asking   int              // hosts
}

// host is an address that has permission to send to us (RFC 8656 section 9), or is to have it. The
// fields are guarded by peers.
type host struct {
	addr    netip.Addr
	state   hostState
	until   time.Time // when the permission, or the refusal, ends
	asking  bool      // for a permission, or for it to be renewed
	peers   int
	waiting []waiting
}

type hostState int

const (
	stateUnknown hostState = iota
	stateGranted
	stateRefused
)

type waiting struct {
	to   netip.AddrPort
	data []byte
}

// peer is one port of a host's. The fields are guarded by peers but for addr, host, used and bound.
type peer struct {
	addr    netip.AddrPort
	host    *host
	used    atomic.Int64  // when something was sent there, in Unix nanoseconds
	channel uint16        // 0: none
	bound   atomic.Uint32 // channel, while it can be used; else 0
	binding bool          // channel is being asked for
	until   time.Time     // when the channel ends, or when one that was refused may be asked for again
}

func newPeers() peers {
	return peers{
		hosts: map[netip.Addr]*host{}, peers: map[netip.AddrPort]*peer{}, channels: map[uint16]*peer{},
		// Channels of a peer that is our client at the same addresses would be mistaken for ours.
		next: firstChannel + uint16(rand.IntN(lastChannel-firstChannel+1)),
	}
}

// to returns whom a packet is for; nil: there are too many.
func (a *Allocation) to(addr netip.AddrPort) *peer {
	a.peers.RLock()
	p := a.peers.peers[addr]
	a.peers.RUnlock()
	if p == nil {
		p = a.newPeer(addr)
	}
	if p != nil {
		p.used.Store(time.Now().UnixNano())
	}
	return p
}

func (a *Allocation) newPeer(addr netip.AddrPort) *peer {
	a.peers.Lock()
	defer a.peers.Unlock()
	if p := a.peers.peers[addr]; p != nil {
		return p
	}
	if len(a.peers.peers) == maxPeers {
		return nil
	}
	h := a.peers.hosts[addr.Addr()]
	if h == nil {
		if len(a.peers.hosts) == maxHosts || !a.mayAsk() {
			return nil
		}
		h = &host{addr: addr.Addr()}
		a.peers.hosts[h.addr] = h
		a.permit(h)
	}
	h.peers++
	p := &peer{addr: addr, host: h}
	a.peers.peers[addr] = p
	return p
}

// mayAsk reports whether one more permission may be asked for. peers is locked.
func (a *Allocation) mayAsk() bool { return a.peers.asking < maxAsking && a.ctx.Err() == nil }

// permit asks for permission in the background. peers is locked.
func (a *Allocation) permit(h *host) {
	h.asking = true
	a.peers.asking++
	a.wg.Go(func() {
		_, err := a.do(a.ctx, stun.MethodCreatePermission, peerAddress(netip.AddrPortFrom(h.addr, 0)))
		a.peers.Lock()
		defer a.peers.Unlock()
		a.peers.asking--
		h.asking = false
		if err != nil {
			a.cfg.Logger.Debug("turn: no permission", "peer", h.addr, "error", err)
			h.state, h.until, h.waiting = stateRefused, time.Now().Add(refusedFor), nil
			return
		}
		a.grant(h)
	})
}

// grant notes a permission. peers is locked.
func (a *Allocation) grant(h *host) {
	h.state, h.until = stateGranted, time.Now().Add(permissionLife)
	for _, w := range h.waiting {
		a.indicate(w.data, w.to)
	}
	h.waiting = nil
}

// wait keeps a packet until its host has permission. False: it has.
func (a *Allocation) wait(data []byte, p *peer) bool {
	now, h := time.Now(), p.host
	a.peers.RLock()
	granted := h.granted(now)
	a.peers.RUnlock()
	if granted {
		return false
	}
	a.peers.Lock()
	defer a.peers.Unlock()
	switch {
	case h.granted(now):
		return false
	case !h.asking && now.After(h.until) && a.mayAsk():
		h.state = stateUnknown
		a.permit(h)
	}
	if h.state != stateRefused && len(h.waiting) < maxWaiting {
		h.waiting = append(h.waiting, waiting{p.addr, append([]byte(nil), data...)})
	}
	return true
}

// bind asks for a channel in the background, unless there is one or none is free.
func (a *Allocation) bind(p *peer) {
	a.peers.Lock()
	defer a.peers.Unlock()
	refused := p.bound.Load() == 0 && time.Now().Before(p.until)
	if refused || p.binding || a.ctx.Err() != nil || a.peers.peers[p.addr] != p {
		return
	}
	if p.channel == 0 {
		for range lastChannel - firstChannel + 1 {
			number := a.peers.next
			if a.peers.next++; a.peers.next > lastChannel {
				a.peers.next = firstChannel
			}
			if a.peers.channels[number] == nil {
				p.channel = number
				a.peers.channels[number] = p
				break
			}
		}
		if p.channel == 0 {
			return
		}
	}
	p.binding = true
	number := binary.BigEndian.AppendUint16(nil, p.channel)
	a.wg.Go(func() {
		_, err := a.do(a.ctx, stun.MethodChannelBind,
			stun.RawAttribute{Type: stun.AttrChannelNumber, Value: append(number, 0, 0)}, peerAddress(p.addr))
		a.peers.Lock()
		defer a.peers.Unlock()
		if p.binding = false; err != nil {
			a.cfg.Logger.Debug("turn: no channel", "peer", p.addr, "error", err)
			p.bound.Store(0) // indications do
			p.until = time.Now().Add(refusedFor)
			return
		}
		p.until = time.Now().Add(channelLife)
		p.bound.Store(uint32(p.channel))
		a.grant(p.host) // RFC 8656 section 12.2
	})
}

// tend renews what is in use and forgets the rest, until the allocation is over. NATs are kept open.
func (a *Allocation) tend() {
	ticker := time.NewTicker(tendEvery)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			for _, p := range a.sweep(now) {
				a.bind(p)
			}
			if keepalive, err := stun.Build(stun.TransactionID, stun.NewType(stun.MethodBinding, stun.ClassIndication)); err == nil {
				_ = a.cfg.Write(keepalive.Raw) // there is another
			}
		case <-a.ctx.Done():
			return
		}
	}
}

// sweep forgets what is not in use, and returns the peers whose channels are to be renewed.
func (a *Allocation) sweep(now time.Time) (renew []*peer) {
	a.peers.Lock()
	defer a.peers.Unlock()
	for number, p := range a.peers.channels {
		switch {
		case p.binding, now.Before(p.until.Add(-renewal)):
		case p.inUse(now):
			renew = append(renew, p)
		case now.After(p.until.Add(numberLife)):
			delete(a.peers.channels, number)
			p.channel = 0
		case now.After(p.until):
			p.bound.Store(0)
		}
	}
	for addr, p := range a.peers.peers {
		h := p.host
		switch {
		case !p.inUse(now):
			if p.channel == 0 {
				delete(a.peers.peers, addr)
				h.peers--
			}
		case h.state == stateGranted && !h.asking && now.After(h.until.Add(-renewal)) && a.mayAsk():
			a.permit(h)
		}
	}
	for addr, h := range a.peers.hosts {
		if h.peers == 0 && !h.asking {
			delete(a.peers.hosts, addr)
		}
	}
	return renew
}

// granted reports whether the address may send to us. peers is locked.
func (h *host) granted(now time.Time) bool { return h.state == stateGranted && now.Before(h.until) }

// inUse reports whether something was sent there lately.
func (p *peer) inUse(now time.Time) bool {
	return now.Sub(time.Unix(0, p.used.Load())) < renewal
}

// peerAddress is XOR-PEER-ADDRESS (RFC 8656 section 18.3).
func peerAddress(addr netip.AddrPort) stun.Setter {
	return xorPeer{IP: net.IP(addr.Addr().AsSlice()), Port: int(addr.Port())}
}

type xorPeer stun.XORMappedAddress

func (x xorPeer) AddTo(m *stun.Message) error {
	return stun.XORMappedAddress(x).AddToAs(m, stun.AttrXORPeerAddress)
}
