package transport

import (
	"bytes"
	"context"
	"crypto/rc4"
	"encoding/binary"
	"errors"
	"expvar"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// knowingHello is what a stranger says who knows the infohash and offers what he likes. His
// public key is 1, which makes the shared secret 1, too.
func knowingHello(t testing.TB, afterKeys []byte) []byte {
	var said bytes.Buffer
	said.Write(keyOne[:])
	said.Write(sum("req1", keyOne[:]))
	obfuscated := sum("req2", infoHash[:])
	for i, x := range sum("req3", keyOne[:]) {
		obfuscated[i] ^= x
	}
	said.Write(obfuscated)
	cipher, err := rc4.NewCipher(sum("keyA", keyOne[:], infoHash[:]))
	if err != nil {
		t.Fatal(err)
	}
	encrypted := make([]byte, 1024+len(afterKeys)) // the first 1024 bytes of the key stream are not used
	copy(encrypted[1024:], afterKeys)
	cipher.XORKeyStream(encrypted, encrypted)
	said.Write(encrypted[1024:])
	return said.Bytes()
}

// offering is knowingHello with a crypto_provides.
func offering(t testing.TB, provides uint32) []byte {
	b := make([]byte, 8+4+2+2)
	binary.BigEndian.PutUint32(b[8:], provides)
	return knowingHello(t, b)
}

// TestMadeUpOffersLeaveNothingBehind: the library counts each value that was ever offered.
func TestMadeUpOffersLeaveNothingBehind(t *testing.T) {
	accept := func(provides uint32) error {
		_, err := Accept(t.Context(), &scriptedConn{r: bytes.NewReader(offering(t, provides))}, ours(infoHash), EncryptionPrefer)
		return err
	}
	kept := func() (n int) {
		counts, ok := expvar.Get(provided).(*expvar.Map)
		if !ok {
			t.Fatal("the library counts elsewhere now")
		}
		counts.Do(func(expvar.KeyValue) { n++ })
		return n
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	const handshakes = 10_000
	for i := range uint32(4) { // what honest peers offer, and nothing
		if err := accept(i); (err == nil) != (i > 0) {
			t.Fatalf("an offer of %d: %v", i, err)
		}
	}
	before := heap()
	var wg sync.WaitGroup
	next := make(chan uint32)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for provides := range next {
				if err := accept(provides); (err == nil) != (provides&3 != 0) {
					t.Errorf("an offer of %#x: %v", provides, err)
				}
			}
		})
	}
	for i := range uint32(handshakes) {
		next <- 4 + i*0x10001
	}
	close(next)
	wg.Wait()
	if n := kept(); n > 3 {
		t.Errorf("%d values are kept", n)
	}
	if grown := int64(heap()) - int64(before); grown > 256<<10 {
		t.Errorf("%d bytes more after %d handshakes", grown, handshakes)
	}
}

// TestADrippingPeerIsLeft holds how long each kind of slow peer keeps a handshake's place.
func TestADrippingPeerIsLeft(t *testing.T) {
	for _, c := range []struct {
		name  string
		first []byte
		after time.Duration
	}{
		{"one that says nothing", nil, helloTimeout},
		{"one that drips its first bytes", []byte{0x13}, helloTimeout},
		{"one that drips its key", bytes.Repeat([]byte{7}, 40), helloTimeout},
		{"one that drips after its key", encryptedHello()[:keyLen], handshakeTimeout - helloTimeout},
	} {
		synctest.Test(t, func(t *testing.T) {
			theirs, raw := net.Pipe()
			var peer sync.WaitGroup
			defer peer.Wait()
			defer theirs.Close()
			peer.Go(func() { io.Copy(io.Discard, theirs) })
			peer.Go(func() {
				_, err := theirs.Write(c.first)
				for err == nil && c.first != nil {
					time.Sleep(time.Second)
					_, err = theirs.Write([]byte{8})
				}
			})
			began := time.Now()
			_, err := Accept(t.Context(), raw, ours(infoHash), EncryptionPrefer)
			if took := time.Since(began); !errors.Is(err, os.ErrDeadlineExceeded) || took != c.after {
				t.Errorf("%s: %v after %v, want %v", c.name, err, took, c.after)
			}
		})
	}
}

// TestExchangesAtOnceAreBounded takes all places and sees that no other exchange begins.
func TestExchangesAtOnceAreBounded(t *testing.T) {
	for range cap(exchanges) {
		if err := exchanges.enter(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	answered := make(chan struct{}, 100)
	conn := &scriptedConn{r: bytes.NewReader(offering(t, 3)), w: signalWriter(answered)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := Accept(ctx, conn, ours(infoHash), EncryptionPrefer)
		done <- err
	}()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) || len(answered) > 0 {
		t.Errorf("%v; answered %d times", err, len(answered))
	}
	for range cap(exchanges) {
		exchanges.leave()
	}
	// One whose peer is silent after its key is over with computing and holds no place.
	theirs, raw := net.Pipe()
	defer theirs.Close()
	go func() { _, err := Accept(t.Context(), raw, ours(infoHash), EncryptionPrefer); done <- err }()
	go theirs.Write(keyOne[:])
	key := make([]byte, keyLen)
	if _, err := io.ReadFull(theirs, key); err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, theirs)
	for range cap(exchanges) {
		if err := exchanges.enter(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for range cap(exchanges) {
		exchanges.leave()
	}
	theirs.Close()
	<-done
}

type signalWriter chan struct{}

func (w signalWriter) Write(b []byte) (int, error) { w <- struct{}{}; return len(b), nil }

// BenchmarkHostileHandshake is the cost of a stranger who does not know the infohash, and of one
// who does.
func BenchmarkHostileHandshake(b *testing.B) {
	ignorant := make([]byte, 700)
	for i := range ignorant {
		ignorant[i] = byte(i*7 + 1)
	}
	for _, c := range []struct {
		name string
		said []byte
	}{{"random", ignorant}, {"knowing", offering(b, 0x10)}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Accept(b.Context(), &scriptedConn{r: bytes.NewReader(c.said)}, ours(infoHash), EncryptionPrefer)
			}
		})
	}
}

// TestAPanicOverAPacketEndsThePacket: those that follow are handled.
func TestAPanicOverAPacketEndsThePacket(t *testing.T) {
	var mu sync.Mutex
	var logged bytes.Buffer
	log := slog.New(slog.NewTextHandler(writerFunc(func(b []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return logged.Write(b)
	}), nil))
	u, err := ListenUDP(ListenOptions{Host: "127.0.0.1", Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	handled := make(chan struct{}, 2)
	u.Lend(ClassDHT).Handle(func([]byte, netip.AddrPort) bool {
		handled <- struct{}{}
		panic("a bug")
	})
	for range 2 {
		if _, err := u.WriteToUDPAddrPort([]byte("d1:ad2:id20:abcdefghij0123456789ee"), u.LocalAddr().AddrPort()); err != nil {
			t.Fatal(err)
		}
		select {
		case <-handled:
		case <-time.After(3 * time.Second):
			t.Fatal("the packet after a panic is not handled")
		}
	}
	u.Close()
	if !strings.Contains(logged.String(), "a bug") || !strings.Contains(logged.String(), "hostile_test.go") {
		t.Errorf("logged %q, want the panic and its stack", logged.String())
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// recordingNetwork says who asked it for what, and is package net.
type recordingNetwork struct {
	plainNetwork
	net.Dialer
	asked []string
}

func (n *recordingNetwork) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	n.asked = append(n.asked, "listen "+network)
	return n.plainNetwork.Listen(ctx, network, address)
}

func (n *recordingNetwork) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	n.asked = append(n.asked, "listen "+network)
	return n.plainNetwork.ListenPacket(ctx, network, address)
}

func (n *recordingNetwork) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	n.asked = append(n.asked, "dial "+network)
	return n.Dialer.DialContext(ctx, network, address)
}

func TestTheNetworkIsTheOnlyWayOut(t *testing.T) {
	n := &recordingNetwork{}
	ln, udp, err := ListenBoth(ListenOptions{Host: "127.0.0.1", Network: n})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	defer udp.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			c.Close() // so that it is dialed again, in plaintext
		}
	}()
	c, err := Dial(t.Context(), ln.Addr().(*net.TCPAddr).AddrPort(), infoHash, DialOptions{Dialer: n})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if got := strings.Join(n.asked, ", "); got != "listen tcp, listen udp, dial tcp, dial tcp" {
		t.Errorf("asked the network to %s", got)
	}
}
