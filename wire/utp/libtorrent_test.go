package utp_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"
)

var infoHash = [20]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}

// libtorrent starts a session of the real libtorrent that speaks uTP only and connects to
// peer unless that is "-". It returns its address.
func libtorrent(t *testing.T, peer string) netip.AddrPort {
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
	cmd := exec.Command(python, "testdata/libtorrent_utp.py", hex.EncodeToString(infoHash[:]), peer)
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
	t.Cleanup(func() {
		stdin.Close()
		kill := time.AfterFunc(3*time.Second, func() { cmd.Process.Kill() })
		defer kill.Stop()
		cmd.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var port uint16
	if _, err := fmt.Sscanf(line, "port %d", &port); err != nil {
		t.Fatalf("libtorrent said %q", line)
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)
}

// shakeHands exchanges the handshakes of BEP 3 over c, and then messages until the peer has
// sent its first one.
func shakeHands(t *testing.T, c net.Conn) {
	t.Helper()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	ours := append([]byte("\x13BitTorrent protocol\x00\x00\x00\x00\x00\x10\x00\x00"), infoHash[:]...)
	ours = append(ours, "-CW0000-0123456789ab"...)
	if _, err := c.Write(ours); err != nil {
		t.Fatal(err)
	}
	theirs := make([]byte, len(ours))
	if _, err := io.ReadFull(c, theirs); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(theirs[:20], ours[:20]) || !bytes.Equal(theirs[28:48], infoHash[:]) {
		t.Errorf("libtorrent's handshake is %q", theirs)
	}
	if _, err := io.ReadFull(c, theirs[:6]); err != nil || theirs[4] != 20 {
		t.Errorf("no extension handshake follows, but % x: %v", theirs[:6], err)
	}
}

func TestDialLibtorrent(t *testing.T) {
	t.Parallel()
	peer := libtorrent(t, "-")
	s := listen(t, "127.0.0.1")
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, err := s.DialContext(ctx, peer)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	shakeHands(t, c)
}

func TestAcceptLibtorrent(t *testing.T) {
	t.Parallel()
	s := listen(t, "127.0.0.1")
	libtorrent(t, s.Addr().String())
	c, err := s.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	shakeHands(t, c)
}
