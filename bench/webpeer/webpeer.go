// Package webpeer makes WebRTC peers of one's own for tests and benchmarks of a
// causeway program: a WebSocket tracker that introduces nobody but them to it, and
// connections that speak the peer wire protocol no further than they are told to.
//
// It is no BitTorrent client, and takes no connections that others want to make.
//
//	tracker := webpeer.Listen()
//	defer tracker.Close()
//	... causeway seed file.torrent --tracker tracker.URL ...
//	conn, err := tracker.Connect(ctx, transport, infoHash, 1)
//	leech, err := webpeer.NewLeech(conn, size, pieceLength)
//	err = leech.Run(256)
package webpeer

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"

	"github.com/coder/websocket"

	"github.com/causeway-bt/causeway/webrtcwire"
)

// maxMessage bounds what is read of causeway, in bytes: ten offers, and more.
const maxMessage = 1 << 20

// interval is when causeway shall announce again, in seconds: not in a test.
const interval = 3600

// Tracker is a WebSocket tracker with one client, which it hands the offers of this
// process.
type Tracker struct {
	URL string // announce URL

	server    *httptest.Server
	announced chan struct{} // closed when the client has announced

	mu      sync.Mutex
	seeds   int // that it tells of, the client included
	conn    *websocket.Conn
	answers map[string]chan string
}

// message is what both sides send (bittorrent-tracker's protocol).
type message struct {
	Action   string       `json:"action"`
	InfoHash string       `json:"info_hash"` // as all ids, a code point for each byte
	PeerID   string       `json:"peer_id,omitempty"`
	OfferID  string       `json:"offer_id,omitempty"`
	Offer    *description `json:"offer,omitempty"`
	Answer   *description `json:"answer,omitempty"`
	Complete int          `json:"complete"`
	Interval int          `json:"interval,omitempty"` // seconds
}

type description struct {
	Type string `json:"type"`
	SDP  string `json:"sdp"`
}

// Listen starts a tracker on loopback.
func Listen() *Tracker {
	t := &Tracker{seeds: 1, announced: make(chan struct{}), answers: map[string]chan string{}}
	t.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return // it has been told so
		}
		defer func() { _ = conn.CloseNow() }()
		conn.SetReadLimit(maxMessage)
		for t.serve(r.Context(), conn) == nil {
		}
	}))
	t.URL = "ws" + strings.TrimPrefix(t.server.URL, "http")
	return t
}

// Close ends the tracker; connections between peers stay.
func (t *Tracker) Close() {
	t.mu.Lock()
	if t.conn != nil {
		_ = t.conn.CloseNow()
	}
	t.mu.Unlock()
	t.server.Close()
}

// TellOf has the tracker tell of so many seeds, the client included. At first it is 1.
func (t *Tracker) TellOf(seeds int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seeds = seeds
}

// serve replies to one announce, or passes one answer on.
func (t *Tracker) serve(ctx context.Context, conn *websocket.Conn) error {
	_, b, err := conn.Read(ctx)
	if err != nil {
		return err
	}
	var m message
	if err := json.Unmarshal(b, &m); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if m.Answer != nil {
		if waiting := t.answers[m.OfferID]; waiting != nil {
			waiting <- m.Answer.SDP
			delete(t.answers, m.OfferID)
		}
		return nil
	}
	if t.conn == nil {
		t.conn = conn
		close(t.announced)
	}
	return send(ctx, conn, message{Action: "announce", InfoHash: m.InfoHash, Complete: t.seeds, Interval: interval})
}

func send(ctx context.Context, conn *websocket.Conn, m message) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return conn.Write(ctx, websocket.MessageText, b)
}

// Offer sends causeway an offer, once it has announced, as of a peer with a number of
// one's choice. The answer, if one comes, goes to the channel.
func (t *Tracker) Offer(ctx context.Context, infoHash [20]byte, number int, sdp string) (<-chan string, error) {
	select {
	case <-t.announced:
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for causeway to announce: %w", ctx.Err())
	}
	var hash []rune
	for _, b := range infoHash {
		hash = append(hash, rune(b))
	}
	offer := fmt.Sprintf("%020d", number)
	answer := make(chan string, 1)
	t.mu.Lock()
	t.answers[offer] = answer
	t.mu.Unlock()
	return answer, send(ctx, t.conn, message{
		Action: "announce", InfoHash: string(hash), PeerID: peerID(number), OfferID: offer, Offer: &description{"offer", sdp},
	})
}

func peerID(number int) string { return fmt.Sprintf("-XX0001-%012d", number) }

// Connect makes a connection to causeway and exchanges handshakes. Each number may be
// connected once.
func (t *Tracker) Connect(ctx context.Context, over *webrtcwire.Transport, infoHash [20]byte, number int) (*webrtcwire.Conn, error) {
	offer, err := over.Offer(ctx)
	if err != nil {
		return nil, err
	}
	answers, err := t.Offer(ctx, infoHash, number, offer.SDP)
	if err != nil {
		return nil, err
	}
	var answer string
	select {
	case answer = <-answers:
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for causeway's answer to offer %d: %w", number, ctx.Err())
	}
	conn, err := offer.Accept(ctx, answer)
	if err != nil {
		return nil, err
	}
	if err := handshake(conn, infoHash, number); err != nil {
		conn.Close()
		return nil, fmt.Errorf("exchange handshakes with causeway: %w", err)
	}
	return conn, nil
}

// handshake exchanges handshakes (BEP 3) without any extension.
func handshake(conn net.Conn, infoHash [20]byte, number int) error {
	const protocol = "\x13BitTorrent protocol"
	var reserved [8]byte
	ours := slices.Concat([]byte(protocol), reserved[:], infoHash[:], []byte(peerID(number)))
	if _, err := conn.Write(ours); err != nil {
		return err
	}
	theirs := make([]byte, len(ours))
	_, err := io.ReadFull(conn, theirs)
	return err
}

// Transport returns a WebRTC socket, which the caller closes.
func Transport(udp net.PacketConn) (*webrtcwire.Transport, error) {
	return webrtcwire.New(webrtcwire.Config{PacketConns: []net.PacketConn{udp}})
}
