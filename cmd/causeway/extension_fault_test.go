package main_test

import (
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/hostile"
)

// A peer whose extension messages are odd, or nothing that can be read, is a peer all the
// same: everything comes from it over one connection.
func TestOddExtensionMessages(t *testing.T) {
	t.Parallel()
	const (
		handshake = "\x00"
		metadata  = "\x01"
		pex       = "\x02"
		dontHave  = "\x03"
	)
	for name, messages := range map[string][]string{
		"empty":           {handshake, metadata, pex, dontHave},
		"rubbish":         {handshake + "rubbish", metadata + "\xff\x00", pex + "i5", dontHave + "\x00"},
		"no dictionaries": {handshake + "le", metadata + "i1e", pex + "4:spam"},
		"odd numbers":     {handshake + "d1:md11:ut_metadatai003e6:ut_pexi-0ee1:pi06881e4:reqqi-0e13:metadata_sizei0009ee"},
		"unsorted, twice": {handshake + "d1:pi1e1:md6:ut_pexi5e11:ut_metadatai3ee1:pi2e1:mi3ee", pex + "d7:dropped0:5:added0:5:added1:xe"},
		"other types":     {handshake + "d1:mle1:p2:xx1:vd1:ai1ee4:reqqle13:metadata_size1:9e", pex + "d5:addedi1e7:added.fle7:droppeddee", metadata + "d8:msg_type1:05:piecelee"},
		"no end":          {handshake + "d1:md6:ut_pexi5ee1:v3:abc", pex + "d5:added6:abc", metadata + "d8:msg_typei1e5:piecei0e"},
		"numbers as keys": {handshake + "di1ei2e1:md6:ut_pexi5eee", pex + "di1ei2ee"},
		"large":           {handshake + "d1:a" + strings.Repeat("l", 60_000) + strings.Repeat("e", 60_000) + "e", pex + "d" + strings.Repeat("1:a0:", 25_000) + "e"},
		"don't have":      {dontHave + "\x00\x00\x00", dontHave + "\xff\xff\xff\xff\xff"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tor := makeTorrent(t, []fixture.File{{Size: 1 << 20}}, fixture.Options{})
			peer := scripted(t, tor, hostile.Honest())
			dir := t.TempDir()
			run := start(t, args([]string{"download", tor.Path, "-o", dir, "--peer", says(t, peer.Addr(), messages)}, alone)...)
			finish(t, run, tor, dir)
			if n := peer.Report().Connections; n != 1 {
				t.Errorf("it took %d connections", n)
			}
		})
	}
}

// says listens for a peer that stands behind it, and adds extension messages to what that
// peer says first. It returns the address.
func says(t *testing.T, peer string, messages []string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		serving.Wait()
	})
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				relayWith(conn, peer, messages)
			})
		}
	})
	return l.Addr().String()
}

func relayWith(conn net.Conn, peer string, messages []string) {
	const handshakeLength, reserved, extended = 68, 25, 20
	hello := make([]byte, handshakeLength)
	if _, err := io.ReadFull(conn, hello[:20]); err != nil || string(hello[1:20]) != "BitTorrent protocol" {
		return // an encrypted one: the client comes again without
	}
	if _, err := io.ReadFull(conn, hello[20:]); err != nil {
		return
	}
	behind, err := net.Dial("tcp", peer)
	if err != nil {
		return
	}
	defer behind.Close()
	if _, err := behind.Write(hello); err != nil {
		return
	}
	first := make([]byte, handshakeLength+4)
	if _, err := io.ReadFull(behind, first); err != nil {
		return
	}
	first[reserved] |= 0x10 // BEP 10
	bitfield := make([]byte, binary.BigEndian.Uint32(first[handshakeLength:]))
	if _, err := io.ReadFull(behind, bitfield); err != nil {
		return
	}
	first = append(first, bitfield...)
	for _, message := range messages {
		first = binary.BigEndian.AppendUint32(first, uint32(1+len(message)))
		first = append(append(first, extended), message...)
	}
	if _, err := conn.Write(first); err != nil {
		return
	}
	var copying sync.WaitGroup
	copying.Go(func() {
		_, _ = io.Copy(behind, conn)
		behind.Close()
	})
	_, _ = io.Copy(conn, behind)
	conn.Close()
	copying.Wait()
}
