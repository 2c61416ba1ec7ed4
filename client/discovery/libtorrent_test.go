package discovery

import (
	"bufio"
	"context"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// libtorrent starts a session of the real libtorrent that looks for the peers of
// infoHash by "dht" or "lsd", and returns its port (for peers and the DHT alike) and, line by line,
// what it says.
func libtorrent(t *testing.T, infoHash [20]byte, discovery, bootstrap string) (port int, lines <-chan string) {
	t.Helper()
	if testing.Short() {
		t.Skip("runs libtorrent: not with -short")
	}
	const python = "/usr/bin/python3" // the one that Debian's python3-libtorrent is for
	if err := exec.Command(python, "-c", "import libtorrent").Run(); err != nil {
		if os.Getenv("CAUSEWAY_REQUIRE_PEERS") == "1" {
			t.Fatal("python3-libtorrent is not installed and CAUSEWAY_REQUIRE_PEERS=1")
		}
		t.Skip("python3-libtorrent is not installed")
	}
	cmd := exec.Command(python, "testdata/libtorrent_session.py", hex.EncodeToString(infoHash[:]), discovery, bootstrap)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said, read := make(chan string, 1000), make(chan struct{})
	go func() {
		defer close(read)
		for s := bufio.NewScanner(stdout); s.Scan(); {
			select {
			case said <- s.Text():
			default:
			}
		}
	}()
	t.Cleanup(func() {
		stdin.Close()
		kill := time.AfterFunc(3*time.Second, func() { cmd.Process.Kill() })
		defer kill.Stop()
		<-read
		cmd.Wait()
	})
	select {
	case line := <-said:
		if _, err := fmt.Sscanf(line, "port %d", &port); err != nil {
			t.Fatalf("libtorrent said %q", line)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("libtorrent does not start")
	}
	return port, said
}

func awaitLine(t *testing.T, lines <-chan string, prefix string, within time.Duration) {
	t.Helper()
	timeout := time.After(within)
	for {
		select {
		case line := <-lines:
			t.Log(line)
			if strings.HasPrefix(line, prefix) {
				return
			}
		case <-timeout:
			t.Fatalf("libtorrent did not say %q within %v", prefix, within)
		}
	}
}

// libtorrent tells when it bootstraps, and needs a second or so before it announces;
// libtorrentPatience is for it, not for us.
const libtorrentPatience = 20 * time.Second

func TestLibtorrentFindsUsInOurDHT(t *testing.T) {
	hash := [20]byte{0xca, 1}
	_, addr := newNode(t, DHTConfig{})
	seed, _ := newNode(t, DHTConfig{Bootstrap: []string{addr.String()}})
	announce(t, seed, hash, 1001)
	_, lines := libtorrent(t, hash, "dht", addr.String())
	awaitLine(t, lines, "peer 127.0.0.1:1001", libtorrentPatience)
}

func TestWeFindALibtorrentThatJoinsByUs(t *testing.T) {
	hash := [20]byte{0xca, 5}
	d, addr := newNode(t, DHTConfig{})
	found := announce(t, d, hash, 1001)
	port, _ := libtorrent(t, hash, "dht", addr.String())
	awaitPeer(t, found, fmt.Sprintf("127.0.0.1:%d", port), libtorrentPatience)
}

func TestWeFindLibtorrentInItsDHT(t *testing.T) {
	hash := [20]byte{0xca, 2}
	port, _ := libtorrent(t, hash, "dht", "-")
	d, _ := newNode(t, DHTConfig{Bootstrap: []string{fmt.Sprintf("127.0.0.1:%d", port)}})
	awaitPeer(t, announce(t, d, hash, 1001), fmt.Sprintf("127.0.0.1:%d", port), libtorrentPatience)
}

func TestLibtorrentAsTheNodeInTheMiddle(t *testing.T) {
	hash := [20]byte{0xca, 3}
	port, _ := libtorrent(t, [20]byte{0xca, 0xff}, "dht", "-")
	bootstrap := []string{fmt.Sprintf("127.0.0.1:%d", port)}
	seed, _ := newNode(t, DHTConfig{Bootstrap: bootstrap})
	announce(t, seed, hash, 1001)
	leech, _ := newNode(t, DHTConfig{Bootstrap: bootstrap})
	waitFor(t, announce(t, leech, hash, 1002), "127.0.0.1:1001")
}

func TestLibtorrentAndWeOnTheLocalNetwork(t *testing.T) {
	interfaces := loopback(t)
	hash := [20]byte{0xca, 4}
	l, err := NewLSD(LSDConfig{Interfaces: interfaces})
	if err != nil {
		t.Skip("no multicast on this host:", err)
	}
	t.Cleanup(l.Close)
	found := make(chan netip.AddrPort, 100)
	defer l.watch(hash, func(p []netip.AddrPort) { found <- p[0] })()
	port, lines := libtorrent(t, hash, "lsd", "-")
	awaitPeer(t, found, fmt.Sprintf("127.0.0.1:%d", port), libtorrentPatience)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go l.Announce(ctx, hash, 1001, func([]netip.AddrPort) {})
	awaitLine(t, lines, "peer 127.0.0.1:1001", libtorrentPatience)

	// One of many in an announce.
	l.limit.ReserveN(time.Now(), lsdBurst) // until all are due
	for i := range maxTogether {
		d := lsdDue{[20]byte{0xca, 5, byte(i)}, 1002}
		if i == maxTogether/2 {
			d.infoHash = hash
		}
		defer l.watch(d.infoHash, func([]netip.AddrPort) {})()
		l.enqueue(d)
	}
	awaitLine(t, lines, "peer 127.0.0.1:1002", libtorrentPatience)
}
