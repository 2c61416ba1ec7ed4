package main_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/causeway-bt/causeway/bench/proc"
)

// What the tests in tracker_fault_test.go have in common.

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
