package webrtcwire

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"testing"
	"time"
)

func randomBytes(seed uint64, n int) []byte {
	var key [32]byte
	key[0] = byte(seed)
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(b) // never fails
	return b
}

func TestConnCarriesAStreamWhateverTheFragmentation(t *testing.T) {
	a, b := pair(t)
	want := randomBytes(1, 8<<20)
	rng := rand.New(rand.NewPCG(1, 2))
	sent := make(chan error, 1)
	go func() {
		rest := want
		for len(rest) > 0 {
			var buffers net.Buffers
			for range 1 + rng.IntN(5) {
				n := min(len(rest), rng.IntN(1<<(1+rng.IntN(18))))
				buffers = append(buffers, rest[:n])
				rest = rest[n:]
			}
			total := 0
			for _, buffer := range buffers {
				total += len(buffer)
			}
			if n, err := a.WriteBuffers(&buffers); err != nil || n != int64(total) || len(buffers) != 0 {
				sent <- errors.Join(err, errors.New("short WriteBuffers"))
				return
			}
		}
		sent <- nil
	}()
	sizes := rand.New(rand.NewPCG(3, 4))
	got := make([]byte, 0, len(want))
	for len(got) < len(want) {
		n := 1 + sizes.IntN(1<<(1+sizes.IntN(18)))
		n = min(n, len(want)-len(got))
		part := got[len(got) : len(got)+n]
		if _, err := io.ReadFull(b, part); err != nil {
			t.Fatal(err)
		}
		got = got[:len(got)+n]
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatal("stream arrived changed")
	}
	if a.Path().Local != "host" || a.RemoteAddr().String() != b.LocalAddr().String() {
		t.Errorf("path %+v to %v, want host to %v", a.Path(), a.RemoteAddr(), b.LocalAddr())
	}
}

func TestConnReadsMessagesOf256KiB(t *testing.T) {
	a, b := pair(t)
	message := randomBytes(2, maxReceive)
	go func() {
		// Past the 32 KiB that we send ourselves: as a browser may.
		a.maxMessage = maxReceive
		_, _ = a.Write(message)
	}()
	got := make([]byte, len(message))
	if _, err := io.ReadFull(b, got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, message) {
		t.Fatal("message arrived changed")
	}
}

func TestConnTakesEmptyMessages(t *testing.T) {
	a, b := pair(t)
	for _, message := range []string{"te", "", "xt"} {
		if err := a.send(net.Buffers{[]byte(message)}, len(message)); err != nil {
			t.Fatal(err)
		}
	}
	got := make([]byte, 4)
	if _, err := io.ReadFull(b, got); err != nil || string(got) != "text" {
		t.Fatalf("got %q, %v", got, err)
	}
}

func TestConnReadDeadline(t *testing.T) {
	a, b := pair(t)
	buffer := make([]byte, 16)
	for range 3 {
		if err := b.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Read(buffer); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("got %v, want a deadline error", err)
		}
	}
	// A deadline set while a Read blocks wakes it.
	if err := b.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	go func() { _, err := b.Read(buffer); failed <- err }()
	if err := b.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %v, want a deadline error", err)
	}
	// And the connection still works.
	if err := b.SetReadDeadline(time.Now().Add(testTimeout)); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if n, err := b.Read(buffer); err != nil || string(buffer[:n]) != "hello" {
		t.Fatalf("got %q, %v", buffer[:n], err)
	}
}

// TestConnBackPressure has a peer that does not read: writes block, what is held
// for it is bounded, deadlines and Close still work, and when it reads again
// every byte is there.
func TestConnBackPressure(t *testing.T) {
	a, b := pair(t)
	before := heapInUse()
	chunk := randomBytes(3, 16<<10)
	total := 0
	if err := a.SetWriteDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	for {
		n, err := a.Write(chunk)
		total += n
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	held := heapInUse() - before
	if limit := 6 << 20; total > limit { // a window of 4 MiB, and what waits to be sent
		t.Errorf("%d bytes went into a connection that nobody reads, want at most %d", total, limit)
	}
	// Both ends live in this process.
	if held > 10<<20 {
		t.Errorf("both ends hold %d bytes of heap, want below 10 MiB", held)
	}
	t.Logf("accepted %d bytes; both ends together hold %d bytes of heap", total, held)

	if err := a.SetWriteDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, total)
	if _, err := io.ReadFull(b, got); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < total; i += len(chunk) {
		if !bytes.Equal(got[i:min(i+len(chunk), total)], chunk[:min(len(chunk), total-i)]) {
			t.Fatalf("bytes from %d on arrived changed", i)
		}
	}
}

func heapInUse() int {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int(stats.HeapAlloc)
}

func TestConnCloseWhileBlocked(t *testing.T) {
	a, b := pair(t)
	readFailed, writeFailed := make(chan error, 1), make(chan error, 1)
	go func() { _, err := a.Read(make([]byte, 1)); readFailed <- err }()
	wrote := make(chan struct{})
	go func() {
		for {
			if _, err := a.Write(make([]byte, maxSend)); err != nil {
				writeFailed <- err
				return
			}
			wrote <- struct{}{}
		}
	}()
	for blocked := false; !blocked; {
		select {
		case <-wrote:
		case <-time.After(time.Second):
			blocked = true
		}
	}
	for range 2 {
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, failed := range []chan error{readFailed, writeFailed} {
		if err := <-failed; !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v, want net.ErrClosed", err)
		}
	}
	// The other side reads what had arrived, and then the end.
	if _, err := io.Copy(io.Discard, b); err != nil {
		t.Errorf("the peer's reader got %v, want io.EOF", err)
	}
	if _, err := b.Write([]byte("x")); err == nil {
		t.Error("writing to a connection that the peer closed succeeded")
	}
}
