package turnclient

import (
	"cmp"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
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
// fields are guarded by peers but for granted.
type host struct {
	addr    netip.Addr
	granted atomic.Int64 // until when it has permission, in Unix nanoseconds
	refused time.Time    // until when it is not to be asked for
	asking  bool         // for a permission, or for it to be renewed
	peers   int
	waiting []waiting
}

type waiting struct {
	to   netip.AddrPort
	data []byte
}

// peer is one port of a host's. The fields are guarded by peers but for addr, host and the atomic ones.
type peer struct {
	addr    netip.AddrPort
	host    *host
	used    atomic.Int64  // when something was sent there, in Unix nanoseconds
	channel atomic.Uint32 // 0: none
	bound   atomic.Int64  // until when channel can be used, in Unix nanoseconds
	binding bool          // channel is being asked for
	refused time.Time     // until when it is not to be asked for
	kept    time.Time     // until when channel means nobody else
}

func newPeers() peers {
	return peers{
		hosts: map[netip.Addr]*host{}, peers: map[netip.AddrPort]*peer{}, channels: map[uint16]*peer{},
		// Channels of a peer that is our client at the same addresses would be mistaken for ours.
		next: firstChannel + uint16(rand.IntN(lastChannel-firstChannel+1)),
	}
}

// to returns whom a packet is for; nil: there are too many.
func (a *Allocation) to(addr netip.AddrPort, now time.Time) *peer {
	a.peers.RLock()
	p := a.peers.peers[addr]
	a.peers.RUnlock()
	if p == nil {
		p = a.newPeer(addr)
	}
	if p != nil {
		p.used.Store(now.UnixNano())
	}
	return p
}

func (a *Allocation) newPeer(addr netip.AddrPort) *peer {
	a.peers.Lock()
	defer a.peers.Unlock()
	if p := a.peers.peers[addr]; p != nil {
		return p
	}
	if len(a.peers.peers) >= maxPeers || len(a.peers.hosts) >= maxHosts {
		a.evict()
	}
	h := a.peers.hosts[addr.Addr()]
	if len(a.peers.peers) >= maxPeers || h == nil && (len(a.peers.hosts) >= maxHosts || !a.mayAsk()) {
		return nil
	}
	if h == nil {
		h = &host{addr: addr.Addr()}
		a.peers.hosts[h.addr] = h
		a.permit(h)
	}
	h.peers++
	p := &peer{addr: addr, host: h}
	a.peers.peers[addr] = p
	return p
}

// evict forgets an eighth of the peers, those that were not used for longest. Those with channels stay.
// peers is locked.
func (a *Allocation) evict() {
	var all []*peer
	for _, p := range a.peers.peers {
		if p.channel.Load() == 0 {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(p, q *peer) int { return cmp.Compare(p.used.Load(), q.used.Load()) })
	for _, p := range all[:len(all)/8] {
		a.forget(p)
	}
}

// forget forgets a peer that has no channel. peers is locked.
func (a *Allocation) forget(p *peer) {
	delete(a.peers.peers, p.addr)
	if p.host.peers--; p.host.peers == 0 && !p.host.asking {
		delete(a.peers.hosts, p.host.addr)
	}
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
		a.peers.asking--
		h.asking = false
		if h.peers == 0 {
			delete(a.peers.hosts, h.addr)
		}
		if err == nil {
			a.peers.Unlock()
			a.grant(h)
			return
		}
		defer a.peers.Unlock()
		a.cfg.Logger.Debug("turn: no permission", "peer", h.addr, "error", err)
		if now := time.Now(); !errors.Is(err, errSilent) || !h.permitted(now) { // else it is still there
			h.granted.Store(0)
			h.refused, h.waiting = now.Add(refusedFor), nil
		}
	})
}

// grant notes a permission, and sends what has waited for it.
func (a *Allocation) grant(h *host) {
	a.peers.Lock()
	h.granted.Store(time.Now().Add(permissionLife).UnixNano())
	all := h.waiting
	h.waiting = nil
	a.peers.Unlock()
	for _, w := range all {
		a.indicate(w.data, w.to)
	}
}

// wait keeps a packet until its host has permission. False: it has.
func (a *Allocation) wait(data []byte, to netip.AddrPort, h *host, now time.Time) bool {
	if h.permitted(now) {
		return false
	}
	a.peers.Lock()
	defer a.peers.Unlock()
	if h.permitted(now) {
		return false
	}
	if !h.asking && now.After(h.refused) && a.peers.hosts[h.addr] == h && a.mayAsk() {
		a.permit(h)
	}
	if h.asking && len(h.waiting) < maxWaiting {
		h.waiting = append(h.waiting, waiting{to, append([]byte(nil), data...)})
	}
	return true
}

// bind asks for a channel in the background, unless that is not to be or none is free.
func (a *Allocation) bind(p *peer) {
	a.peers.Lock()
	defer a.peers.Unlock()
	if p.binding || time.Now().Before(p.refused) || a.ctx.Err() != nil || a.peers.peers[p.addr] != p {
		return
	}
	number := uint16(p.channel.Load())
	if number == 0 {
		if number = a.peers.free(); number == 0 {
			return
		}
		p.channel.Store(uint32(number))
		a.peers.channels[number] = p
	}
	p.binding = true
	a.wg.Go(func() {
		_, err := a.do(a.ctx, stun.MethodChannelBind, channelNumber(number), peerAddress(p.addr))
		now := time.Now()
		if err == nil {
			a.grant(p.host) // RFC 8656 section 12.2
		}
		a.peers.Lock()
		defer a.peers.Unlock()
		p.binding = false
		if err == nil || errors.Is(err, errSilent) { // the answer may have been lost
			p.kept = now.Add(channelLife + numberLife)
		}
		if err != nil {
			a.cfg.Logger.Debug("turn: no channel", "peer", p.addr, "error", err)
			p.refused = now.Add(refusedFor) // meanwhile, indications do
			return
		}
		p.bound.Store(now.Add(channelLife).UnixNano())
	})
}

// free returns a number that no channel has; 0: there is none.
func (p *peers) free() uint16 {
	for range lastChannel - firstChannel + 1 {
		number := p.next
		if p.next++; p.next > lastChannel {
			p.next = firstChannel
		}
		if p.channels[number] == nil {
			return number
		}
	}
	return 0
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

// sweep forgets what is not in use, has the permissions of the rest renewed, and returns the peers whose
// channels are to be.
func (a *Allocation) sweep(now time.Time) (renew []*peer) {
	a.peers.Lock()
	defer a.peers.Unlock()
	soon := now.Add(renewal)
	for _, p := range a.peers.peers {
		h, channel := p.host, uint16(p.channel.Load())
		switch {
		case p.inUse(now):
			if channel != 0 && p.bound.Load() <= soon.UnixNano() {
				renew = append(renew, p)
			}
			if !h.permitted(soon) && !h.asking && now.After(h.refused) && a.mayAsk() {
				a.permit(h)
			}
		case channel != 0 && (p.binding || now.Before(p.kept)):
		default:
			delete(a.peers.channels, channel)
			p.channel.Store(0)
			a.forget(p)
		}
	}
	return renew
}

// permitted reports whether the address may send to us.
func (h *host) permitted(now time.Time) bool { return now.UnixNano() < h.granted.Load() }

// usable is the channel by which packets may go; 0: none.
func (p *peer) usable(now time.Time) uint16 {
	if now.UnixNano() < p.bound.Load() && p.host.permitted(now) {
		return uint16(p.channel.Load())
	}
	return 0
}

// inUse reports whether something was sent there lately.
func (p *peer) inUse(now time.Time) bool {
	return now.Sub(time.Unix(0, p.used.Load())) < renewal
}

// channelNumber is CHANNEL-NUMBER (RFC 8656 section 18.1).
func channelNumber(number uint16) stun.Setter {
	return stun.RawAttribute{Type: stun.AttrChannelNumber, Value: append(binary.BigEndian.AppendUint16(nil, number), 0, 0)}
}

// peerAddress is XOR-PEER-ADDRESS (RFC 8656 section 18.3).
func peerAddress(addr netip.AddrPort) stun.Setter {
	return xorPeer{IP: net.IP(addr.Addr().AsSlice()), Port: int(addr.Port())}
}

type xorPeer stun.XORMappedAddress

func (x xorPeer) AddTo(m *stun.Message) error {
	return stun.XORMappedAddress(x).AddToAs(m, stun.AttrXORPeerAddress)
}
