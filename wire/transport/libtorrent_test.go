package transport

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"
)

// libtorrent starts a session of the real libtorrent with the torrent of infoHash, which
// connects to peer unless that is "-", and returns the port it listens at.
func libtorrent(t *testing.T, policy, level, peer string) (port uint16) {
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
	cmd := exec.Command(python, "testdata/libtorrent_peer.py", hex.EncodeToString(infoHash[:]), policy, level, peer)
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
	if _, err := fmt.Sscanf(line, "port %d", &port); err != nil {
		t.Fatalf("libtorrent said %q", line)
	}
	return port
}

var libtorrentCases = []struct {
	policy, level string
	ours          Encryption
	encrypted     bool
	rc4           bool
}{
	{"enabled", "both", EncryptionPrefer, true, false},
	{"enabled", "both", EncryptionRequire, true, true},
	{"enabled", "both", EncryptionOff, false, false},
	{"forced", "rc4", EncryptionPrefer, true, true},
	{"forced", "plaintext", EncryptionPrefer, true, false},
	{"disabled", "both", EncryptionPrefer, false, false},
}

func TestDialLibtorrent(t *testing.T) {
	for _, c := range libtorrentCases {
		t.Run(fmt.Sprintf("%s %s, we %v", c.policy, c.level, c.ours), func(t *testing.T) {
			port := libtorrent(t, c.policy, c.level, "-")
			addr := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)
			conn, err := Dial(t.Context(), addr, infoHash, DialOptions{Encryption: c.ours})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if conn.Encrypted() != c.encrypted || conn.RC4() != c.rc4 {
				t.Errorf("encrypted %v, RC4 %v", conn.Encrypted(), conn.RC4())
			}
			handshake(t, conn)
		})
	}
}

func TestAcceptLibtorrent(t *testing.T) {
	for _, c := range libtorrentCases {
		t.Run(fmt.Sprintf("%s %s, we %v", c.policy, c.level, c.ours), func(t *testing.T) {
			addr, results := listen(t, c.ours)
			libtorrent(t, c.policy, c.level, addr.String())
			timeout := time.After(20 * time.Second)
			for {
				select {
				case got := <-results:
					if got.err != nil {
						t.Log(got.err) // the first of two attempts, where one side does not encrypt
						continue
					}
					defer got.conn.Close()
					if got.conn.RC4() != c.rc4 {
						t.Errorf("encrypted %v, RC4 %v", got.conn.Encrypted(), got.conn.RC4())
					}
					handshake(t, got.conn)
					return
				case <-timeout:
					t.Fatal("libtorrent does not connect")
				}
			}
		})
	}
}

// handshake exchanges the handshake of BEP 3 with libtorrent and checks its infohash.
func handshake(t *testing.T, conn *Conn) {
	t.Helper()
	ours := append([]byte(protocolHeader), make([]byte, 8)...)
	ours = append(ours, infoHash[:]...)
	ours = append(ours, "-CW0001-abcdefghijkl"...)
	if _, err := conn.Write(ours); err != nil {
		t.Fatal(err)
	}
	theirs := make([]byte, len(ours))
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.ReadFull(conn, theirs); err != nil {
		t.Fatal(err)
	}
	if string(theirs[:20]) != protocolHeader || [20]byte(theirs[28:48]) != infoHash {
		t.Errorf("handshake %q", theirs)
	}
}
