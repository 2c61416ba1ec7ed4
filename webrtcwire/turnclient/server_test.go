package turnclient

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pion/stun/v4"
)

var (
	relayedAt  = netip.MustParseAddrPort("192.0.2.1:50000")
	mappedAt   = netip.MustParseAddrPort("192.0.2.2:6881")
	peerAt     = netip.MustParseAddrPort("198.51.100.1:1000")
	serverLife = 10 * time.Minute
)

// server is a TURN server that keeps to RFC 8656 and, so that the tests of synctest have one, no socket.
type server struct {
	client *Allocation

	mu        sync.Mutex
	answer    func(request *stun.Message) *stun.Message // nil: byTheBook; an answer of nil: none
	asked     []question
	permitted map[netip.Addr]time.Time // until when
	channels  map[uint16]channel
	numbers   map[netip.AddrPort]uint16 // the last of a peer
	relayed   []packet                  // to peers
	byChannel int                       // of these
	lost      int                       // what no peer got, for want of permission or of a channel
	received  []packet                  // by the client, of peers
}

// question is a request, or its repetition.
type question struct {
	at     time.Time
	id     transactionID
	method stun.Method
	peer   netip.AddrPort
	number uint16
}

type channel struct {
	peer  netip.AddrPort
	until time.Time
}

func newServer(t *testing.T, answer func(*stun.Message) *stun.Message) *server {
	t.Helper()
	s := &server{permitted: map[netip.Addr]time.Time{}, channels: map[uint16]channel{}, numbers: map[netip.AddrPort]uint16{}, answer: answer}
	s.client = New(Config{Username: "me", Password: "secret", Write: s.write, Received: func(data []byte, from netip.AddrPort) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.received = append(s.received, packet{string(data), from})
	}})
	t.Cleanup(func() { s.client.Close() })
	return s
}

// serve has an allocation at a server by the book.
func serve(t *testing.T) *server {
	t.Helper()
	s := newServer(t, nil)
	if err := s.client.Allocate(context.Background()); err != nil {
		t.Fatal(err)
	}
	return s
}

// will changes the answers.
func (s *server) will(answer func(*stun.Message) *stun.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

func silent(*stun.Message) *stun.Message { return nil }

func success(request *stun.Message, attributes ...stun.Setter) *stun.Message {
	return stun.MustBuild(append([]stun.Setter{stun.NewTransactionIDSetter(request.TransactionID),
		stun.NewType(request.Type.Method, stun.ClassSuccessResponse)}, attributes...)...)
}

func refusal(request *stun.Message, code stun.ErrorCode, attributes ...stun.Setter) *stun.Message {
	return stun.MustBuild(append([]stun.Setter{stun.NewTransactionIDSetter(request.TransactionID),
		stun.NewType(request.Type.Method, stun.ClassErrorResponse), stun.ErrorCodeAttribute{Code: code}}, attributes...)...)
}

// refusing answers one method with a refusal.
func (s *server) refusing(method stun.Method, code stun.ErrorCode) func(*stun.Message) *stun.Message {
	return func(request *stun.Message) *stun.Message {
		if request.Type.Method == method {
			return refusal(request, code)
		}
		return s.byTheBook(request)
	}
}

func lifetime(d time.Duration) stun.Setter {
	return stun.RawAttribute{Type: stun.AttrLifetime, Value: binary.BigEndian.AppendUint32(nil, uint32(d.Seconds()))}
}

func address(attribute stun.AttrType, addr netip.AddrPort) stun.Setter {
	return attributeAs{attribute, stun.XORMappedAddress{IP: net.IP(addr.Addr().AsSlice()), Port: int(addr.Port())}}
}

type attributeAs struct {
	attribute stun.AttrType
	address   stun.XORMappedAddress
}

func (a attributeAs) AddTo(m *stun.Message) error { return a.address.AddToAs(m, a.attribute) }

// byTheBook answers as the RFC says. mu is locked.
func (s *server) byTheBook(request *stun.Message) *stun.Message {
	now := time.Now()
	switch request.Type.Method {
	case stun.MethodAllocate:
		return success(request, address(stun.AttrXORRelayedAddress, relayedAt), address(stun.AttrXORMappedAddress, mappedAt), lifetime(serverLife))
	case stun.MethodRefresh:
		return success(request, lifetime(serverLife))
	case stun.MethodCreatePermission:
		s.permitted[peerOf(request).Addr()] = now.Add(permissionLife)
	case stun.MethodChannelBind:
		peer, number := peerOf(request), numberOf(request)
		if number < firstChannel || number > lastChannel {
			return refusal(request, stun.CodeBadRequest)
		}
		other := s.numbers[peer]
		if c := s.channels[number]; now.Before(c.until) && c.peer != peer || now.Before(s.channels[other].until) && other != number {
			return refusal(request, stun.CodeBadRequest) // RFC 8656 section 12.2
		}
		s.permitted[peer.Addr()], s.numbers[peer] = now.Add(permissionLife), number
		s.channels[number] = channel{peer, now.Add(channelLife)}
	}
	return success(request)
}

func peerOf(m *stun.Message) netip.AddrPort {
	peer, _ := addressOf(m, stun.AttrXORPeerAddress) // the zero one if there is none
	return peer
}

func numberOf(m *stun.Message) uint16 {
	if value, err := m.Get(stun.AttrChannelNumber); err == nil && len(value) == 4 {
		return binary.BigEndian.Uint16(value)
	}
	return 0
}

// write takes a packet of the client's.
func (s *server) write(b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if isChannelData(b) {
		c := s.channels[binary.BigEndian.Uint16(b)]
		if !now.Before(c.until) || !now.Before(s.permitted[c.peer.Addr()]) { // coturn has it so
			s.lost++
			return nil
		}
		s.byChannel++
		s.relayed = append(s.relayed, packet{string(b[channelHeader:]), c.peer})
		return nil
	}
	m := &stun.Message{Raw: slices.Clone(b)}
	if err := m.Decode(); err != nil {
		return err
	}
	if m.Type.Class == stun.ClassIndication {
		data, err := m.Get(stun.AttrData)
		switch {
		case err != nil: // it keeps a NAT open
		case now.Before(s.permitted[peerOf(m).Addr()]):
			s.relayed = append(s.relayed, packet{string(data), peerOf(m)})
		default:
			s.lost++
		}
		return nil
	}
	s.asked = append(s.asked, question{now, m.TransactionID, m.Type.Method, peerOf(m), numberOf(m)})
	answer := s.answer
	if answer == nil {
		answer = s.byTheBook
	}
	if response := answer(m); response != nil {
		go s.client.Receive(response.Raw)
	}
	return nil
}

// indication is data of a peer's as it comes without a channel.
func indication(data string, from netip.AddrPort) []byte {
	return stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodData, stun.ClassIndication),
		peerAddress(from), stun.RawAttribute{Type: stun.AttrData, Value: []byte(data)}).Raw
}

// times are when requests of a method were made, and repeated, since a time.
func (s *server) times(method stun.Method, since time.Time) (times []time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range s.asked {
		if q.method == method {
			times = append(times, q.at.Sub(since))
		}
	}
	return times
}

// requests counts requests of a method to a peer, without repetitions.
func (s *server) requests(method stun.Method, peer netip.Addr) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := map[transactionID]bool{}
	for _, q := range s.asked {
		if q.method == method && q.peer.Addr() == peer {
			ids[q.id] = true
		}
	}
	return len(ids)
}

// bound are the numbers of the channels that were asked for.
func (s *server) bound() (numbers []uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range s.asked {
		if q.number != 0 && !slices.Contains(numbers, q.number) {
			numbers = append(numbers, q.number)
		}
	}
	return numbers
}

// took returns what has gone to peers since it was last called, how much of it by a channel, and what was lost.
func (s *server) took() (relayed []packet, byChannel, lost int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	relayed, byChannel, lost = s.relayed, s.byChannel, s.lost
	s.relayed, s.byChannel, s.lost = nil, 0, 0
	return relayed, byChannel, lost
}
