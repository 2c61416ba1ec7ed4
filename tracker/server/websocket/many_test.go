//go:build linux

package websocket_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/causeway-bt/causeway/tracker/server/websocket"
	"github.com/causeway-bt/causeway/tracker/server/websocket/socket"
)

const (
	// childEnv says to the test's own program that it is to be many clients, of which URL.
	childEnv   = "CAUSEWAY_TEST_CROWD"
	childCount = "CAUSEWAY_TEST_CROWD_COUNT"

	crowdFull  = 20_000
	crowdShort = 2_000
	// swarmOf is how many peers of the crowd share a torrent.
	swarmOf = 10
	// spareFiles is what else is open.
	spareFiles = 200
	// maxPerConnection is what a connection may cost in RssAnon, its peer's entry included.
	maxPerConnection = 8 << 10
)

// TestCrowdIsHeldAndAnswered holds 20,000 connections of another process, each of which
// announces with offers, three times. It tells what other ways cost, too.
func TestCrowdIsHeldAndAnswered(t *testing.T) {
	t.Run("event loops", func(t *testing.T) { holdCrowd(t, crowdFull, false, false) })
	t.Run("goroutines", func(t *testing.T) { holdCrowd(t, crowdShort, true, false) })
	t.Run("TLS", func(t *testing.T) { holdCrowd(t, crowdShort, false, true) })
}

func holdCrowd(t *testing.T, n int, goroutines, secure bool) {
	if testing.Short() || raceDetector {
		n = min(n, crowdShort)
	}
	n = min(n, raiseFiles(t, n+spareFiles)-spareFiles)
	tr := start(t, func(_ *websocket.Config, s *socket.Config) {
		s.MaxPerAddress = n
		s.Goroutines = goroutines
	})
	if secure {
		tr.web.Close()
		tr.web = httptest.NewUnstartedServer(http.HandlerFunc(tr.serve))
		tr.web.StartTLS()
		tr.url = "wss" + strings.TrimPrefix(tr.web.URL, "https")
	}
	before := rssAnon(t)
	crowd := startCrowd(t, tr.url, n)
	for round := range 3 {
		if got := crowd.round(t); got != n {
			t.Fatalf("round %d: %d of %d announces were answered", round, got, n)
		}
	}
	per := (rssAnon(t) - before) / n
	t.Logf("%d connections: %d bytes of RssAnon each", n, per)
	if open := tr.sockets.Stats().Open; open != n {
		t.Errorf("%d connections are open; want %d", open, n)
	}
	if web := tr.table.Size().PeersWeb; web != int64(n) {
		t.Errorf("the table has %d peers; want %d", web, n)
	}
	if n > crowdShort && !raceDetector && !goroutines && per > maxPerConnection {
		t.Errorf("a connection takes %d bytes of RssAnon; want at most %d", per, maxPerConnection)
	}
	crowd.end(t)
	waitFor(t, "all peers to be gone", func() bool { return tr.table.Size().PeersWeb == 0 })
}

// raiseFiles has this process and its children open n files, or as many as they may.
func raiseFiles(t *testing.T, n int) int {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur >= uint64(n) {
		return n
	}
	more := unix.Rlimit{Cur: uint64(n), Max: max(limit.Max, uint64(n))}
	if unix.Setrlimit(unix.RLIMIT_NOFILE, &more) == nil {
		return n
	}
	limit.Cur = limit.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	t.Logf("only %d open files are allowed here", limit.Cur)
	return int(limit.Cur)
}

// rssAnon is this process's, in bytes.
func rssAnon(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := bytes.Cut(b, []byte("RssAnon:"))
	kb, err := strconv.Atoi(string(bytes.Fields(after)[0]))
	if err != nil {
		t.Fatal(err)
	}
	return kb << 10
}

// crowdProcess is a process with many clients.
type crowdProcess struct {
	in  io.WriteCloser
	out *bufio.Reader
	cmd *exec.Cmd
}

func startCrowd(t *testing.T, url string, n int) *crowdProcess {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+url, childCount+"="+strconv.Itoa(n))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return &crowdProcess{in, bufio.NewReader(out), cmd}
}

// round has each client announce, and returns how many were answered.
func (c *crowdProcess) round(t *testing.T) int {
	t.Helper()
	if _, err := io.WriteString(c.in, "\n"); err != nil {
		t.Fatal(err)
	}
	line, err := c.out.ReadString('\n')
	if err != nil {
		t.Fatalf("the crowd died: %v", err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (c *crowdProcess) end(t *testing.T) {
	t.Helper()
	if err := c.in.Close(); err != nil {
		t.Fatal(err)
	}
}

// runAsChild is the other process.
func runAsChild() {
	at := os.Getenv(childEnv)
	if at == "" {
		return
	}
	n, _ := strconv.Atoi(os.Getenv(childCount))
	u, err := url.Parse(at)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	conns := make([]*rawClient, n)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var wg sync.WaitGroup
		var mu sync.Mutex
		answered := 0
		for worker := range 32 {
			wg.Go(func() {
				for i := worker; i < n; i += 32 {
					if conns[i] == nil {
						conns[i] = dialRaw(u, net.IPv4(127, 0, 0, byte(2+i%8)))
					}
					if err := conns[i].announce(i); err != nil {
						fmt.Fprintln(os.Stderr, err)
						continue
					}
					mu.Lock()
					answered++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		fmt.Println(answered)
	}
	os.Exit(0)
}

// rawClient is a WebSocket client that allocates little.
type rawClient struct {
	conn net.Conn
	in   *bufio.Reader
}

func dialRaw(u *url.URL, from net.IP) *rawClient {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from}, Timeout: patience}
	conn, err := d.Dial("tcp", u.Host)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if u.Scheme == "wss" {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	c := &rawClient{conn, bufio.NewReaderSize(conn, 512)}
	_, _ = io.WriteString(conn, "GET /announce HTTP/1.1\r\nHost: tracker\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if line == "\r\n" {
			return c
		}
	}
}

// announce announces with an offer, and reads until its reply has come.
func (c *rawClient) announce(i int) error {
	text := fmt.Sprintf(`{"action":"announce","info_hash":"hash %015d","peer_id":"peer %015d","left":1,"offers":[`+
		`{"offer_id":"offer %014d","offer":{"type":"offer","sdp":"v=0"}}]}`, i/swarmOf, i, i)
	_ = c.conn.SetDeadline(time.Now().Add(patience))
	if _, err := c.conn.Write(maskedFrame(0x81, []byte(text))); err != nil {
		return err
	}
	for {
		payload, err := readFrame(c.in)
		if err != nil {
			return err
		}
		if bytes.Contains(payload, []byte(`"interval":`)) {
			return nil
		}
	}
}
