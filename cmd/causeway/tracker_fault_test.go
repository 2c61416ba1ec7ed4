package main_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/causeway-bt/causeway/bench/proc"
)

// These tests do to `causeway tracker` what no client does, from one address, while a client
// at another goes on announcing over all three protocols: what is done is bounded in the
// tracker's memory, is told once, and keeps nobody else waiting.

const (
	hostileHost = "127.0.0.66"
	honestHost  = "127.0.0.77"
	// promptly is how long an honest announce may take on a busy machine.
	promptly = 10 * time.Second
)

// fromHost dials from an address.
func fromHost(host string) *net.Dialer {
	return &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(host)}, Timeout: promptly}
}

func webClient(host string) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: fromHost(host).DialContext, DisableKeepAlives: true}, Timeout: promptly}
}

// besieged is a tracker that an honest client announces to until the test ends.
func besieged(t *testing.T, flags ...string) *meetingPoint {
	t.Helper()
	if testing.Short() {
		t.Skip("besieges a tracker: not with -short")
	}
	m := openMeetingPoint(t, "127.0.0.1", flags...)
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for name, announce := range map[string]func(context.Context) error{"HTTP": m.announceHTTP, "UDP": m.announceUDP, "WebSocket": m.announceWeb} {
		wg.Go(func() {
			n := 0
			for ctx.Err() == nil {
				one, cancel := context.WithTimeout(context.Background(), promptly)
				err := announce(one)
				cancel()
				if err != nil {
					t.Errorf("honest announce %d over %s: %v", n, name, err)
					return
				}
				n++
				select {
				case <-time.After(100 * time.Millisecond): // as it is no flood
				case <-ctx.Done():
				}
			}
		})
	}
	t.Cleanup(func() {
		stop()
		wg.Wait()
	})
	return m
}

const honestHash = "hhhhhhhhhhhhhhhhhhhh"

func (m *meetingPoint) announceHTTP(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.http+"?info_hash="+honestHash+"&peer_id=-HO0001-000000000000&port=7001&uploaded=0&downloaded=0&left=0", nil)
	if err != nil {
		return err
	}
	resp, err := webClient(honestHost).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && !strings.Contains(string(body), "8:complete") {
		err = fmt.Errorf("answered with %q", body)
	}
	return err
}

func (m *meetingPoint) announceUDP(ctx context.Context) error {
	conn, err := m.dialUDP(honestHost)
	if err != nil {
		return err
	}
	defer conn.Close()
	for try := 0; ; try++ { // a datagram may be lost
		deadline, _ := ctx.Deadline()
		conn.SetDeadline(time.Now().Add(time.Until(deadline) / 3))
		id, err := connectUDP(conn)
		if err == nil {
			_, err = announceUDP(conn, id)
		}
		if err == nil || try == 2 {
			return err
		}
	}
}

func (m *meetingPoint) dialUDP(host string) (*net.UDPConn, error) {
	return net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(host)}, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: m.port})
}

// connectUDP gets a connection id (BEP 15).
func connectUDP(conn *net.UDPConn) (id uint64, err error) {
	b := binary.BigEndian.AppendUint64(nil, 0x41727101980)
	b = append(b, 0, 0, 0, 0, 1, 2, 3, 4)
	if _, err := conn.Write(b); err != nil {
		return 0, err
	}
	answer := make([]byte, 2048)
	n, err := conn.Read(answer)
	if err == nil && (n != 16 || string(answer[:8]) != "\x00\x00\x00\x00\x01\x02\x03\x04") {
		err = fmt.Errorf("a connect was answered with %q", answer[:n])
	}
	return binary.BigEndian.Uint64(answer[8:]), err
}

// announceUDP returns the answer.
func announceUDP(conn *net.UDPConn, id uint64) ([]byte, error) {
	if _, err := conn.Write(udpAnnounce(id)); err != nil {
		return nil, err
	}
	answer := make([]byte, 2048)
	n, err := conn.Read(answer)
	if err == nil && (n < 20 || binary.BigEndian.Uint32(answer) != 1) {
		err = fmt.Errorf("an announce was answered with %q", answer[:n])
	}
	return answer[:n], err
}

func udpAnnounce(id uint64) []byte {
	b := make([]byte, 98)
	binary.BigEndian.PutUint64(b, id)
	copy(b[8:], "\x00\x00\x00\x01\x05\x06\x07\x08"+honestHash+"-HO0001-000000000000")
	binary.BigEndian.PutUint16(b[96:], 7001)
	return b
}

func (m *meetingPoint) announceWeb(ctx context.Context) error {
	conn, _, err := websocket.Dial(ctx, m.ws, &websocket.DialOptions{HTTPClient: webClient(honestHost)})
	if err != nil {
		return err
	}
	defer conn.CloseNow()
	return webAnnounce(ctx, conn, honestHash)
}

// webAnnounce announces over a WebSocket and waits for the answer.
func webAnnounce(ctx context.Context, conn *websocket.Conn, hash string) error {
	id := fmt.Sprintf("-HO0001-%012d", time.Now().UnixNano()%1_000_000_000_000)
	message := fmt.Sprintf(`{"action":"announce","info_hash":"%s","peer_id":"%s","left":0,"offers":[]}`, hash, id)
	if err := conn.Write(ctx, websocket.MessageText, []byte(message)); err != nil {
		return err
	}
	_, b, err := conn.Read(ctx)
	if err == nil && !strings.Contains(string(b), `"complete"`) {
		err = fmt.Errorf("answered with %q", b)
	}
	return err
}

// hostileSocket is a WebSocket of the hostile host.
func (m *meetingPoint) hostileSocket(t *testing.T) *websocket.Conn {
	t.Helper()
	conn, _, err := websocket.Dial(within(t, patience), m.ws, &websocket.DialOptions{HTTPClient: &http.Client{
		Transport: &http.Transport{DialContext: fromHost(hostileHost).DialContext},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.CloseNow() })
	return conn
}

// hostileConn is a TCP connection of the hostile host.
func (m *meetingPoint) hostileConn(t *testing.T) net.Conn {
	t.Helper()
	conn, err := fromHost(hostileHost).DialContext(within(t, patience), "tcp", fmt.Sprintf("127.0.0.1:%d", m.port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// bounded checks what the tracker's memory has grown to.
func (m *meetingPoint) bounded(t *testing.T, most int64) {
	t.Helper()
	if rss, err := proc.RssAnon(m.PID()); err != nil || rss > most {
		t.Errorf("the tracker has %d MiB of memory, want at most %d (%v)", rss>>20, most>>20, err)
	}
}

// Messages of 20 MB end their sockets and nothing else, and are not kept.
func TestTrackerHugeMessages(t *testing.T) {
	t.Parallel()
	m := besieged(t)
	const sockets, size = 20, 20_000_000
	huge := []byte(`{"action":"announce","info_hash":"` + strings.Repeat("x", size) + `"}`)
	var wg sync.WaitGroup
	for range sockets {
		conn := m.hostileSocket(t)
		wg.Go(func() {
			ctx := within(t, patience)
			_ = conn.Write(ctx, websocket.MessageText, huge) // ends in the middle, or not
			_, _, err := conn.Read(ctx)
			if err == nil || ctx.Err() != nil {
				t.Errorf("a socket that sent 20 MB: %v, want it closed", err)
			}
		})
	}
	wg.Wait()
	m.bounded(t, 64<<20)
}

// What is no announce is answered with an error that names it, or ends its socket.
func TestTrackerMalformedMessages(t *testing.T) {
	t.Parallel()
	m := besieged(t)
	var offers []string
	for i := range 10_000 {
		offers = append(offers, fmt.Sprintf(`{"offer_id":"%020d","offer":{"type":"offer","sdp":"v=0"}}`, i))
	}
	many := `"action":"announce","info_hash":"` + honestHash + `","peer_id":"-HO0002-000000000000","left":1,"offers":[`
	for name, test := range map[string]struct {
		kind    websocket.MessageType
		message string
		answers bool // as if there were fewer
	}{
		"10,000 offers":     {websocket.MessageText, "{" + many + strings.Join(offers, ",") + "]}", false},
		"1,000 offers":      {websocket.MessageText, "{" + many + strings.Join(offers[:1000], ",") + "]}", true},
		"binary":            {websocket.MessageBinary, "\x00\xff\xfe" + strings.Repeat("\x80", 1000), false},
		"no JSON":           {websocket.MessageText, "hello", false},
		"deep JSON":         {websocket.MessageText, `{"action":"announce","x":` + strings.Repeat("[", 100_000), false},
		"short info_hash":   {websocket.MessageText, `{"action":"announce","info_hash":"hhh","peer_id":"-HO0002-000000000000","left":1}`, false},
		"long peer_id":      {websocket.MessageText, `{"action":"announce","info_hash":"` + honestHash + `","peer_id":"-HO0002-0000000000000","left":1}`, false},
		"runes for bytes":   {websocket.MessageText, `{"action":"announce","info_hash":"` + strings.Repeat("界", 20) + `","peer_id":"-HO0002-000000000000"}`, false},
		"unknown action":    {websocket.MessageText, `{"action":"dance","info_hash":"` + honestHash + `"}`, false},
		"answer to nothing": {websocket.MessageText, `{"action":"announce","info_hash":"` + honestHash + `","peer_id":"-HO0002-000000000000","to_peer_id":"-HO0003-000000000000","offer_id":"00000000000000000000","answer":{"type":"answer","sdp":"v=0"}}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			conn, ctx := m.hostileSocket(t), within(t, patience)
			_ = conn.Write(ctx, test.kind, []byte(test.message))
			_, b, err := conn.Read(ctx)
			if ctx.Err() != nil {
				t.Fatal("neither answered nor closed")
			}
			if err != nil {
				if test.answers {
					t.Errorf("closed: %v", err)
				}
				return
			}
			var reply struct {
				Action   string `json:"action"`
				Failure  string `json:"failure reason"`
				Complete *int   `json:"complete"`
			}
			if err := json.Unmarshal(b, &reply); err != nil || reply.Action == "" {
				t.Errorf("answered with %q (%v), want an action", b, err)
			}
			if (reply.Failure == "") != test.answers || (reply.Complete != nil) != test.answers {
				t.Errorf("answered with %q", b)
			}
		})
	}
	for _, query := range []string{
		"info_hash=short&peer_id=-HO0002-000000000000&port=7002",
		"info_hash=" + honestHash + "&peer_id=long-HO0002-000000000000&port=7002",
		"info_hash=" + honestHash + "&peer_id=-HO0002-000000000000&port=70002",
		"",
	} {
		resp, err := webClient(hostileHost).Get(m.http + "?" + query)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if !strings.Contains(string(body), "14:failure reason") {
			t.Errorf("announce?%s: %s %q, want a failure reason", query, resp.Status, body)
		}
	}
	m.bounded(t, 64<<20)
}

// Whoever connects and then does not say what it wants, or does not take what it gets, is
// closed in the end.
func TestTrackerSlowClients(t *testing.T) {
	t.Parallel()
	m := besieged(t)
	head := "GET /announce HTTP/1.1\r\nHost: x\r\n"
	var slow []net.Conn
	for _, begin := range []string{
		"", "G", head, head + "Connection: Upgrade\r\nUpgrade: websocket\r\n",
		"POST /announce HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n",
		"PUT /stats HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1",
		"\x16\x03\x01", // TLS, perhaps
	} {
		for range 20 {
			conn := m.hostileConn(t)
			if _, err := io.WriteString(conn, begin); err != nil {
				t.Fatal(err)
			}
			slow = append(slow, conn)
		}
	}
	// These send a byte a second, for ever.
	ctx := within(t, patience)
	var wg sync.WaitGroup
	for range 20 {
		conn := m.hostileConn(t)
		slow = append(slow, conn)
		wg.Go(func() {
			for i := 0; ; i++ {
				if _, err := conn.Write([]byte(head[i%len(head):][:1])); err != nil {
					return
				}
				select {
				case <-time.After(time.Second):
				case <-ctx.Done():
					return
				}
			}
		})
	}
	for i, conn := range slow {
		deadline, _ := ctx.Deadline()
		conn.SetReadDeadline(deadline)
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("slow connection %d is still open", i)
		}
	}
	wg.Wait()
}

// Sockets that do not read what is relayed to them are closed, or miss it; the tracker
// does not keep it.
func TestTrackerSlowReaders(t *testing.T) {
	t.Parallel()
	m := besieged(t)
	const readers, rounds = 10, 400
	hash := "ssssssssssssssssssss"
	for i := range readers {
		conn := m.hostileSocket(t)
		message := fmt.Sprintf(`{"action":"announce","info_hash":"%s","peer_id":"-SL0001-%012d","left":1,"offers":[]}`, hash, i)
		if err := conn.Write(within(t, patience), websocket.MessageText, []byte(message)); err != nil {
			t.Fatal(err)
		}
	}
	conn := m.hostileSocket(t)
	ctx := conn.CloseRead(within(t, patience))
	sdp := strings.Repeat("x", 8000)
	for round := range rounds {
		var offers []string
		for i := range readers {
			offers = append(offers, fmt.Sprintf(`{"offer_id":"%020d","offer":{"type":"offer","sdp":"%s"}}`, round*readers+i, sdp))
		}
		message := fmt.Sprintf(`{"action":"announce","info_hash":"%s","peer_id":"-SL0002-000000000000","left":1,"offers":[%s]}`, hash, strings.Join(offers, ","))
		if err := conn.Write(ctx, websocket.MessageText, []byte(message)); err != nil {
			break // it does not read either
		}
	}
	m.bounded(t, 96<<20)

	// And HTTP pages that nobody reads.
	page := m.hostileConn(t)
	page.SetWriteDeadline(time.Now().Add(promptly))
	for range 20_000 {
		if _, err := io.WriteString(page, "GET /stats HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			break // its buffers are full
		}
	}
	m.bounded(t, 96<<20)
}

// Headers without end are refused.
func TestTrackerHeaderBombs(t *testing.T) {
	t.Parallel()
	m := besieged(t)
	for name, bomb := range map[string]string{
		"long line":  "GET /announce?" + strings.Repeat("info_hash=hhhhhhhhhhhhhhhhhhhh&", 400_000) + " HTTP/1.1\r\n\r\n",
		"long value": "GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 10<<20) + "\r\n\r\n",
		"many lines": "GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X: y\r\n", 1<<20) + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			conn := m.hostileConn(t)
			conn.SetDeadline(time.Now().Add(patience))
			go io.WriteString(conn, bomb)
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err == nil {
				resp.Body.Close()
				if resp.StatusCode < 400 {
					t.Errorf("answered with %s", resp.Status)
				}
			} else if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("neither answered nor closed")
			}
		})
	}
	m.bounded(t, 64<<20)
}

// Who has not shown that its address is its own gets no more bytes than it sent, and
// a connection id is of use at its own address alone.
func TestTrackerSpoofedSources(t *testing.T) {
	t.Parallel()
	m := besieged(t)
	sent, got := 0, 0
	answer := make([]byte, 4096)
	packets := [][]byte{
		udpAnnounce(0), udpAnnounce(0x41727101980), udpAnnounce(1 << 63),
		udpAnnounce(0x41727101980)[:16], udpAnnounce(0)[:20], {0}, {},
		append([]byte("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x01\x02\x03\x04"), strings.Repeat(honestHash, 70)...),
	}
	for source := range 50 {
		conn, err := m.dialUDP(fmt.Sprintf("127.0.1.%d", 1+source))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for _, p := range packets {
			if _, err := conn.Write(p); err != nil {
				t.Fatal(err)
			}
			sent += len(p)
		}
		// A connect is answered after all that came before it.
		conn.SetDeadline(time.Now().Add(promptly))
		b := binary.BigEndian.AppendUint64(nil, 0x41727101980)
		if _, err := conn.Write(append(b, "\x00\x00\x00\x00last"...)); err != nil {
			t.Fatal(err)
		}
		for {
			n, err := conn.Read(answer)
			if err != nil {
				t.Fatal(err)
			}
			if n == 16 && string(answer[4:8]) == "last" {
				break
			}
			if got += n; binary.BigEndian.Uint32(answer) != 3 && binary.BigEndian.Uint32(answer) != 0 {
				t.Errorf("answered with %q", answer[:n])
			}
		}
	}
	if got > sent {
		t.Errorf("%d bytes came back for %d", got, sent)
	}

	mine, err := m.dialUDP(hostileHost)
	if err != nil {
		t.Fatal(err)
	}
	defer mine.Close()
	mine.SetDeadline(time.Now().Add(promptly))
	id, err := connectUDP(mine)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := announceUDP(mine, id); err != nil {
		t.Errorf("at its own address: %v", err)
	}
	other, err := m.dialUDP("127.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	other.SetDeadline(time.Now().Add(500 * time.Millisecond))
	if b, err := announceUDP(other, id); err == nil {
		t.Errorf("at another address: answered with %q", b)
	}
}

// One address opens ten thousand sockets: it gets its share, that is told once, and others
// go on.
func TestTrackerManySocketsOfOneAddress(t *testing.T) {
	t.Parallel()
	const sockets, share = 8_000, 300 // with the honest ones, fewer than a process may have open
	m := besieged(t, "--host-connections", fmt.Sprint(share))
	open := 0
	for i := range sockets {
		conn, err := fromHost(hostileHost).DialContext(within(t, patience), "tcp", fmt.Sprintf("127.0.0.1:%d", m.port))
		if err != nil {
			if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.ECONNREFUSED) {
				continue
			}
			t.Fatalf("socket %d: %v", i, err)
		}
		defer conn.Close()
		open++
	}
	if open < share {
		t.Errorf("only %d connections were made", open)
	}
	eventually(t, patience, "the share to be all that is open", func() bool {
		return m.openSockets(t) <= share+10 // those of the honest
	})
	if n := strings.Count(m.Output(), "connections of one host"); n != 1 {
		t.Errorf("it was told %d times, want once", n)
	}
	m.bounded(t, 64<<20)
}

// openSockets counts the sockets of the tracker's process.
func (m *meetingPoint) openSockets(t *testing.T) (n int) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", m.PID())
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Skipf("only where there is /proc: %v", err)
	}
	for _, e := range entries {
		if to, err := os.Readlink(dir + "/" + e.Name()); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}
