package utp_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/bench/realpeer"
)

var infoHash = [20]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}

// libtorrent starts a session of the real libtorrent that speaks uTP only and connects to
// peers. It returns its address.
func libtorrent(t *testing.T, peers ...string) netip.AddrPort {
	t.Helper()
	return netip.MustParseAddrPort(realpeer.Start(t, realpeer.Options{
		Program: realpeer.Libtorrent, Magnet: "magnet:?xt=urn:btih:" + hex.EncodeToString(infoHash[:]), Dir: t.TempDir(),
		UTP: true, NoTCP: true, Peers: peers,
	}).Addr)
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
	peer := libtorrent(t)
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
