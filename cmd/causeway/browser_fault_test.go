package main_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/causeway-bt/causeway/bench/cli"
	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/proc"
	"github.com/causeway-bt/causeway/bench/realpeer"
	"github.com/causeway-bt/causeway/tracker/ws"
	"github.com/causeway-bt/causeway/webrtcwire"
	"github.com/causeway-bt/causeway/wire"
)

// signaller is a WebSocket tracker with one client, causeway, which it sends the
// offers that a test makes.
type signaller struct {
	url       string
	connected chan struct{} // closed when causeway has announced

	mu      sync.Mutex
	conn    *websocket.Conn
	answers map[ws.ID]chan string
}

type signal struct {
	Action     string   `json:"action"`
	InfoHash   ws.ID    `json:"info_hash"`
	PeerID     *ws.ID   `json:"peer_id,omitempty"`
	OfferID    *ws.ID   `json:"offer_id,omitempty"`
	Offer      *sdpJSON `json:"offer,omitempty"`
	Answer     *sdpJSON `json:"answer,omitempty"`
	Complete   int      `json:"complete"`
	Incomplete int      `json:"incomplete"`
	Interval   int      `json:"interval,omitempty"` // seconds
}

type sdpJSON struct {
	Type string `json:"type"`
	SDP  string `json:"sdp"`
}

func startSignaller(t *testing.T) *signaller {
	t.Helper()
	s := &signaller{connected: make(chan struct{}), answers: map[ws.ID]chan string{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Errorf("accept causeway's connection to its tracker: %v", err)
			return
		}
		conn.SetReadLimit(1 << 20)
		s.serve(r.Context(), conn)
	}))
	t.Cleanup(server.Close)
	s.url = "ws" + strings.TrimPrefix(server.URL, "http")
	return s
}

// serve replies to announces and passes answers on, until causeway leaves.
func (s *signaller) serve(ctx context.Context, conn *websocket.Conn) {
	defer conn.CloseNow()
	for {
		_, b, err := conn.Read(ctx)
		if err != nil {
			return
		}
		var m signal
		if json.Unmarshal(b, &m) != nil {
			return
		}
		if m.Answer != nil && m.OfferID != nil {
			s.mu.Lock()
			if wanted := s.answers[*m.OfferID]; wanted != nil {
				wanted <- m.Answer.SDP
				delete(s.answers, *m.OfferID)
			}
			s.mu.Unlock()
			continue
		}
		if writeSignal(ctx, conn, signal{Action: "announce", InfoHash: m.InfoHash, Complete: 1, Interval: 600}) != nil {
			return
		}
		s.mu.Lock()
		if s.conn == nil {
			s.conn = conn
			close(s.connected)
		}
		s.mu.Unlock()
	}
}

func writeSignal(ctx context.Context, conn *websocket.Conn, m signal) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return conn.Write(ctx, websocket.MessageText, b)
}

// offer sends causeway an offer; the answer, if one comes, goes to the channel.
func (s *signaller) offer(ctx context.Context, infoHash [20]byte, number int, sdp string) (<-chan string, error) {
	select {
	case <-s.connected:
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for causeway to announce: %w", ctx.Err())
	}
	var peer, offer ws.ID
	copy(peer[:], fmt.Sprintf("-XX0001-%012d", number))
	copy(offer[:], fmt.Sprintf("%020d", number))
	answer := make(chan string, 1)
	s.mu.Lock()
	s.answers[offer] = answer
	s.mu.Unlock()
	return answer, writeSignal(ctx, s.conn, signal{
		Action: "announce", InfoHash: infoHash, PeerID: &peer, OfferID: &offer, Offer: &sdpJSON{"offer", sdp},
	})
}

// webPeer is a WebRTC connection of the test's own to causeway, handshaken.
func (s *signaller) webPeer(t *testing.T, infoHash [20]byte, number int) *webrtcwire.Conn {
	t.Helper()
	ctx := within(t, patience)
	offer, err := ownTransport(t).Offer(ctx)
	if err != nil {
		t.Fatal(err)
	}
	answers, err := s.offer(ctx, infoHash, number, offer.SDP)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case answer := <-answers:
		conn, err := offer.Accept(ctx, answer)
		if err != nil {
			t.Fatal(err)
		}
		h := wire.Handshake{Reserved: wire.OurReserved(false), InfoHash: infoHash}
		copy(h.PeerID[:], fmt.Sprintf("-XX0001-%012d", number))
		if err := wire.WriteHandshake(conn, h); err != nil {
			t.Fatal(err)
		}
		if _, err := wire.ReadHandshake(conn); err != nil {
			t.Fatal(err)
		}
		return conn
	case <-ctx.Done():
		t.Fatalf("offer %d was not answered", number)
		return nil
	}
}

// ownTransport is a WebRTC socket on loopback.
func ownTransport(t *testing.T) *webrtcwire.Transport {
	t.Helper()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	transport, err := webrtcwire.New(webrtcwire.Config{PacketConns: []net.PacketConn{udp}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { transport.Close() })
	return transport
}

// stall becomes interested, waits to be unchoked, asks for the first n blocks, and
// reads no more.
func stall(t *testing.T, conn net.Conn, tor *fixture.Torrent, n int) {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	const interested, unchoke, request = 2, 1, 6
	message := func(id byte, fields ...uint32) []byte {
		b := append(binary.BigEndian.AppendUint32(nil, uint32(1+4*len(fields))), id)
		for _, f := range fields {
			b = binary.BigEndian.AppendUint32(b, f)
		}
		return b
	}
	out := message(interested)
	for begin := int64(0); begin < int64(n)*wire.BlockSize; begin += wire.BlockSize {
		out = append(out, message(request, uint32(begin/tor.PieceLength), uint32(begin%tor.PieceLength), wire.BlockSize)...)
	}
	if _, err := conn.Write(out[:5]); err != nil {
		t.Fatal(err)
	}
	for {
		var head [5]byte
		if _, err := io.ReadFull(conn, head[:4]); err != nil {
			t.Fatalf("wait to be unchoked: %v", err)
		}
		length := binary.BigEndian.Uint32(head[:4])
		if length == 0 {
			continue
		}
		if _, err := io.ReadFull(conn, head[4:]); err != nil {
			t.Fatalf("wait to be unchoked: %v", err)
		}
		if head[4] == unchoke {
			break
		}
		if _, err := io.CopyN(io.Discard, conn, int64(length)-1); err != nil {
			t.Fatalf("wait to be unchoked: %v", err)
		}
	}
	if _, err := conn.Write(out[5:]); err != nil {
		t.Fatal(err)
	}
}

// A page that asks for much and reads none of it costs little memory, and takes
// nothing from the others.
func TestPagesThatStopReading(t *testing.T) {
	realpeer.Need(t, realpeer.WebTorrent)
	const (
		stalled = 10
		asked   = 1024    // blocks of each: 16 MiB
		each    = 2 << 20 // bytes of memory for one
	)
	tor, faults, tracker := single(t, 32<<20), startSignaller(t), realpeer.StartWebTracker(t, 0)
	t.Setenv("GOGC", "10") // so that the memory is what is in use, with little garbage
	run := webSeed(t, tor, tracker, "--tracker", faults.url, "--slots", "16", "--web-slots", "16")
	download := func() {
		dir := t.TempDir()
		finish(t, start(t, args([]string{"download", tor.Path, "-o", dir, "--no-tcp"}, toWeb(tracker))...), tor, dir)
	}
	download() // so that the heap and its pools have their size
	idle, err := proc.RssAnon(run.PID())
	if err != nil {
		t.Skipf("memory cannot be measured here: %v", err)
	}
	began := time.Now()
	sent := lastProgress(run).Uploaded
	for i := range stalled {
		stall(t, faults.webPeer(t, tor.InfoHash, i), tor, asked)
	}
	eventually(t, patience, "all to be counted", func() bool { return lastProgress(run).Peers.WebRTC == stalled })
	eventually(t, patience, "nothing to be sent any more", func() bool {
		before := sent
		sent = lastProgress(run).Uploaded
		return sent == before && time.Since(began) > 3*time.Second
	})
	full, err := proc.RssAnon(run.PID())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("RssAnon %.1f MiB before, %.1f MiB with %d stalled peers", float64(idle)/(1<<20), float64(full)/(1<<20), stalled)
	if cost := (full - idle) / stalled; cost > each {
		t.Errorf("a stalled peer costs %d KiB, want at most %d", cost>>10, each>>10)
	}
	download()
}

// A tracker that sends a thousand offers a second, none of which leads anywhere, costs
// a bounded part of a core and bounded memory, and when it stops everything is given
// back.
func TestFloodOfOffers(t *testing.T) {
	const (
		perSecond  = 1000
		flood      = 10 * time.Second
		maxCPU     = 0.5      // of a core
		maxMemory  = 48 << 20 // bytes above what it was
		keptMemory = 16 << 20
	)
	tor, faults := single(t, 1<<20), startSignaller(t)
	run := start(t, args([]string{
		"seed", tor.Path, "--data", tor.Dir, "--no-webrtc=false", "--stun", silentSTUN, "--no-dht", "--tracker", faults.url,
	}, base)...)
	dead := ownTransport(t)
	offer, err := dead.Offer(within(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	ctx := within(t, patience)
	if _, err := faults.offer(ctx, tor.InfoHash, -1, "no description"); err != nil { // waits for the announce
		t.Fatal(err)
	}
	eventually(t, patience, "the first announce's offers to have gone", func() bool { return openFiles(t, run) > 0 })
	before, files := memory(t, run), openFiles(t, run)
	cpu, err := run.CPU()
	if err != nil {
		t.Skipf("processor time cannot be measured here: %v", err)
	}
	peak := before
	tick := time.NewTicker(time.Second / perSecond)
	defer tick.Stop()
	began, sent := time.Now(), 0
	for time.Since(began) < flood {
		<-tick.C
		for ; sent < int(time.Since(began).Seconds()*perSecond); sent++ {
			if _, err := faults.offer(ctx, tor.InfoHash, sent, offer.SDP); err != nil {
				t.Fatalf("after %d offers: %v", sent, err)
			}
		}
		peak = max(peak, memory(t, run))
	}
	took := time.Since(began)
	used, err := run.CPU()
	if err != nil {
		t.Fatal(err)
	}
	share := (used - cpu).Seconds() / took.Seconds()
	t.Logf("%d offers in %v: %.2f of a core, RssAnon %.1f MiB before, %.1f MiB at most", sent, took, share, float64(before)/(1<<20), float64(peak)/(1<<20))
	if share > maxCPU {
		t.Errorf("%d offers a second used %.2f of a core, want at most %.2f", perSecond, share, maxCPU)
	}
	if peak > before+maxMemory {
		t.Errorf("RssAnon grew from %d to %d MiB", before>>20, peak>>20)
	}
	eventually(t, patience, "negotiations to end and their memory to be given back", func() bool {
		return openFiles(t, run) <= files && memory(t, run) <= before+keptMemory
	})
}

func memory(t *testing.T, run *cli.Run) int64 {
	t.Helper()
	n, err := proc.RssAnon(run.PID())
	if err != nil {
		t.Skipf("memory cannot be measured here: %v", err)
	}
	return n
}

func openFiles(t *testing.T, run *cli.Run) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", run.PID()))
	if err != nil {
		t.Skipf("open files cannot be counted here: %v", err)
	}
	return len(entries)
}
