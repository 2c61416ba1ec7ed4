package tracker

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/anacrolix/torrent/tracker/udp"

	"github.com/causeway-bt/causeway/tracker/internal/reach"
)

const (
	// BEP 15 retransmits after 15, 30, 60 ... seconds, which was meant to spare
	// servers; a user waits for this. Requests are sent again after
	// udpFirstTimeout and then after twice as long each time, udpAttempts in all.
	udpFirstTimeout = 2 * time.Second
	udpAttempts     = 4
	// udpConnectionLife is how long a connection ID may be used (BEP 15).
	udpConnectionLife = time.Minute
	// maxUDPAnswer is as much as a UDP packet holds.
	maxUDPAnswer = 64 << 10
)

// udpSession is what is remembered of a UDP tracker between announces. The messages
// are those of anacrolix/torrent/tracker/udp; its client is not used because it
// waits 15 s before it asks again, looks names up without a bound, and believes
// answers from any address.
type udpSession struct {
	connID uint64
	issued time.Time
	server netip.AddrPort // which issued connID
	heard  bool           // it has answered something
}

// errUDPSilent is the cause when a UDP tracker gave no answer.
var errUDPSilent = errors.New("no answer from the tracker")

// announce does the exchange of BEP 15.
func (s *udpSession) announce(ctx context.Context, n Network, network string, u *url.URL, r request) (*response, error) {
	var resp *response
	err := s.converse(ctx, n, network, u, udp.ActionAnnounce, announceBody(u, r), func(body []byte, server netip.Addr) (err error) {
		if resp, err = parseUDPResponse(body, server.Is4()); err == nil {
			resp.speaker = server
		}
		return err
	})
	return resp, err
}

// converse asks one question on a socket of its own, connected to the tracker so that
// the system drops what others send and reports a closed port.
func (s *udpSession) converse(ctx context.Context, n Network, network string, u *url.URL, action udp.Action, question []byte, answered func(body []byte, server netip.Addr) error) error {
	conn, err := n.DialContext(ctx, network, u.Host)
	if err != nil {
		return inWords(ctx, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	server, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return fmt.Errorf("no address of the tracker is known: %w", err)
	}
	body, err := s.exchange(ctx, conn, server, action, question)
	if errors.Is(err, errUDPSilent) && ctx.Err() == nil {
		return fmt.Errorf("%w at %v (UDP)", err, server)
	}
	if err != nil {
		return inWords(ctx, err)
	}
	return answered(body, server.Addr().Unmap())
}

func (s *udpSession) exchange(ctx context.Context, conn net.Conn, server netip.AddrPort, action udp.Action, question []byte) ([]byte, error) {
	kept := s.server == server && time.Since(s.issued) < udpConnectionLife
	if !kept {
		body, err := udpRequest(ctx, conn, udp.ConnectRequestConnectionId, udp.ActionConnect, nil)
		if err != nil {
			return nil, err
		}
		if len(body) < 8 {
			return nil, fmt.Errorf("%w: %d bytes for a connection id", errRubbish, len(body))
		}
		*s = udpSession{connID: binary.BigEndian.Uint64(body), issued: time.Now(), server: server, heard: true}
	}
	body, err := udpRequest(ctx, conn, s.connID, action, question)
	if err != nil {
		// The tracker may have restarted, and knows no connection ID then.
		*s = udpSession{heard: true}
	}
	if kept && errors.As(err, new(refusal)) {
		return s.exchange(ctx, conn, server, action, question)
	}
	return body, err
}

// announceBody is an announce request after its header, with the path of the URL as
// BEP 41 has it.
func announceBody(u *url.URL, r request) []byte {
	var b bytes.Buffer
	// Writing to a bytes.Buffer cannot fail, and the type has a fixed size.
	_ = udp.Write(&b, udp.AnnounceRequest{
		InfoHash:   r.infoHash,
		PeerId:     r.peerID,
		Downloaded: r.Downloaded,
		Left:       r.Left,
		Uploaded:   r.Uploaded,
		Event:      r.event,
		Key:        int32(r.key),
		NumWant:    int32(min(r.numWant, maxPeers)),
		Port:       r.port,
	})
	if path := u.RequestURI(); path != "/" {
		b.Write(udp.Options{RequestUri: path}.Encode())
	}
	return b.Bytes()
}

// udpRequest sends a request until it is answered and returns the answer's body.
func udpRequest(ctx context.Context, conn net.Conn, connID uint64, action udp.Action, body []byte) ([]byte, error) {
	header := udp.RequestHeader{ConnectionId: connID, Action: action, TransactionId: int32(rand.Uint32())}
	var packet bytes.Buffer
	_ = udp.Write(&packet, header)
	packet.Write(body)

	answer := make([]byte, maxUDPAnswer)
	timeout := udpFirstTimeout
	for range udpAttempts {
		if _, err := conn.Write(packet.Bytes()); err != nil {
			return nil, err
		}
		conn.SetReadDeadline(time.Now().Add(timeout))
		if ctx.Err() != nil { // the deadline just set may have undone that of ctx
			return nil, ctx.Err()
		}
		body, err := udpAnswer(conn, answer, header)
		var netErr net.Error
		if err == nil || !errors.As(err, &netErr) || !netErr.Timeout() {
			return body, err
		}
		timeout *= 2
	}
	return nil, errUDPSilent
}

// udpAnswer reads until there is an answer to the request with the given header.
func udpAnswer(conn net.Conn, buf []byte, request udp.RequestHeader) ([]byte, error) {
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, err
		}
		var header udp.ResponseHeader
		r := bytes.NewReader(buf[:n])
		if udp.Read(r, &header) != nil || header.TransactionId != request.TransactionId {
			continue
		}
		body := buf[n-r.Len() : n]
		switch header.Action {
		case request.Action:
			return body, nil
		case udp.ActionError:
			return nil, refusal{reason: reach.Words(strings.TrimRight(string(body), "\x00"))}
		}
		return nil, fmt.Errorf("%w: action %d for a request with action %d", errRubbish, header.Action, request.Action)
	}
}

// parseUDPResponse reads an announce's answer; over IPv6, peers are IPv6.
func parseUDPResponse(body []byte, ipv4 bool) (*response, error) {
	var header udp.AnnounceResponseHeader
	r := bytes.NewReader(body)
	if err := udp.Read(r, &header); err != nil {
		return nil, fmt.Errorf("%w: %d bytes for an announce", errRubbish, len(body))
	}
	addrLen := 16
	if ipv4 {
		addrLen = 4
	}
	return &response{
		interval: int64(header.Interval),
		seeds:    count(int64(header.Seeders)),
		leeches:  count(int64(header.Leechers)),
		peers:    compactPeers(nil, body[len(body)-r.Len():], addrLen),
	}, nil
}
