package transport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	dhtPacket = []byte("d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe")
	utpPacket = zeros("41001234", 20)
)

func listenLoopback(t testing.TB) *UDPSocket {
	t.Helper()
	u, err := ListenUDP(ListenOptions{Host: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	return u
}

func dialSocket(t testing.TB, to *UDPSocket) *net.UDPConn {
	t.Helper()
	c, err := net.DialUDP("udp", nil, to.LocalAddr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestEachBorrowerGetsItsOwnPackets(t *testing.T) {
	u := listenLoopback(t)
	dht, utp := u.Lend(ClassDHT), u.Lend(ClassUTP)
	c := dialSocket(t, u)
	for _, p := range [][]byte{utpPacket, []byte("rubbish"), dhtPacket, zeros("40000005", 9)} {
		if _, err := c.Write(p); err != nil {
			t.Fatal(err)
		}
	}
	b := make([]byte, 100)
	for lent, want := range map[*Lent][]byte{dht: dhtPacket, utp: utpPacket} {
		lent.SetReadDeadline(time.Now().Add(3 * time.Second))
		n, from, err := lent.ReadFrom(b)
		if err != nil {
			t.Fatal(err)
		}
		if string(b[:n]) != string(want) || from.String() != c.LocalAddr().String() {
			t.Errorf("got %q from %v", b[:n], from)
		}
	}
	// The channel data was sent last, so this awaits it.
	for u.Stats().Unlent == 0 {
		time.Sleep(time.Millisecond)
	}
	if s := u.Stats(); s.Unknown != 1 || s.Unlent != 1 || s.Dropped != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestLentSocketAnswersFromTheSharedPort(t *testing.T) {
	u := listenLoopback(t)
	dht := u.Lend(ClassDHT)
	c := dialSocket(t, u)
	if _, err := dht.WriteTo([]byte("hello"), c.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 10)
	c.SetReadDeadline(time.Now().Add(3 * time.Second))
	if n, err := c.Read(b); err != nil || string(b[:n]) != "hello" { // c is connected to the shared port
		t.Fatalf("%q, %v", b[:n], err)
	}
}

func TestReadDeadline(t *testing.T) {
	u := listenLoopback(t)
	l := u.Lend(ClassDHT)
	read := func() error {
		_, _, err := l.ReadFrom(make([]byte, 10))
		return err
	}
	l.SetReadDeadline(time.Now().Add(-time.Second))
	if err := read(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a deadline in the past: %v", err)
	}
	l.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	err := read()
	var netErr net.Error
	if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &netErr) || !netErr.Timeout() {
		t.Fatalf("a deadline to come: %v", err)
	}
	l.SetReadDeadline(time.Time{})
	result := make(chan error)
	go func() { result <- read() }()
	dialSocket(t, u).Write(dhtPacket)
	if err := <-result; err != nil {
		t.Fatalf("no deadline: %v", err)
	}
	go func() { result <- read() }()
	l.SetReadDeadline(time.Now()) // while a read waits
	if err := <-result; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a deadline moved: %v", err)
	}
}

func TestClosingALentSocketOnlyGivesItBack(t *testing.T) {
	u := listenLoopback(t)
	first := u.Lend(ClassDHT)
	result := make(chan error)
	go func() {
		_, _, err := first.ReadFrom(make([]byte, 10))
		result <- err
	}()
	first.Close()
	if err := <-result; !errors.Is(err, net.ErrClosed) {
		t.Fatalf("a read during Close: %v", err)
	}
	if _, err := first.WriteTo(nil, u.LocalAddr()); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("a write after Close: %v", err)
	}
	second := u.Lend(ClassDHT)
	first.Close() // must not take the class from its new borrower
	dialSocket(t, u).Write(dhtPacket)
	second.SetReadDeadline(time.Now().Add(3 * time.Second))
	if _, _, err := second.ReadFrom(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
}

func TestClosingTheSocketClosesWhatIsLent(t *testing.T) {
	u := listenLoopback(t)
	l := u.Lend(ClassUTP)
	u.Close()
	if _, _, err := l.ReadFrom(make([]byte, 10)); !errors.Is(err, net.ErrClosed) {
		t.Fatal(err)
	}
	if _, _, err := u.Lend(ClassDHT).ReadFrom(make([]byte, 10)); !errors.Is(err, net.ErrClosed) {
		t.Fatal(err)
	}
}

func TestQueueOfABorrowerThatDoesNotReadIsBounded(t *testing.T) {
	u := listenLoopback(t)
	l := u.Lend(ClassUTP)
	from := netip.MustParseAddrPort("127.0.0.1:1")
	for range lentQueue + 5 {
		u.deliver(utpPacket, from, time.Now())
	}
	if got := l.Dropped(); got != 5 {
		t.Errorf("%d packets dropped, want 5", got)
	}
	if s := u.Stats(); s.Dropped != 5 {
		t.Errorf("stats %+v", s)
	}
}

func TestHandledPacketsAreNotQueued(t *testing.T) {
	u := listenLoopback(t)
	l := u.Lend(ClassUTP)
	var got [][]byte
	l.Handle(func(packet []byte, _ netip.AddrPort) bool {
		got = append(got, append([]byte(nil), packet...))
		return true
	})
	u.deliver(utpPacket, netip.MustParseAddrPort("127.0.0.1:1"), time.Now())
	if len(got) != 1 || string(got[0]) != string(utpPacket) || len(l.queue) != 0 {
		t.Errorf("handled %q, %d queued", got, len(l.queue))
	}
	l.Close()
	u.deliver(utpPacket, netip.MustParseAddrPort("127.0.0.1:1"), time.Now())
	if len(got) != 1 {
		t.Error("handled a packet after Close")
	}
}

// TestBorrowersOfOneClass asks them in turn, until one takes the packet.
func TestBorrowersOfOneClass(t *testing.T) {
	u := listenLoopback(t)
	from := netip.MustParseAddrPort("127.0.0.1:1")
	var asked []string
	lend := func(name string, takes byte) *Lent {
		l := u.Lend(ClassUTP)
		l.Handle(func(packet []byte, _ netip.AddrPort) bool {
			asked = append(asked, name)
			return packet[19] == takes
		})
		return l
	}
	first := lend("first", 1)
	lend("second", 2)
	for _, c := range []struct {
		last byte
		want string
	}{{1, "[first]"}, {2, "[first second]"}, {3, "[first second]"}} {
		asked = nil
		u.deliver(append(zeros("41001234", 19), c.last), from, time.Now())
		if fmt.Sprint(asked) != c.want {
			t.Errorf("packet %d: asked %v, want %v", c.last, asked, c.want)
		}
	}
	if s := u.Stats(); s.Unlent != 1 {
		t.Errorf("%d packets were nobody's, want 1", s.Unlent)
	}
	reads := u.Lend(ClassUTP)
	u.deliver(append(zeros("41001234", 19), 3), from, time.Now())
	if len(reads.queue) != 1 {
		t.Error("who reads did not get what the others left")
	}
	first.Close()
	asked = nil
	if u.deliver(append(zeros("41001234", 19), 1), from, time.Now()); fmt.Sprint(asked) != "[second]" || len(reads.queue) != 2 {
		t.Errorf("after the first is gone: asked %v, %d to read", asked, len(reads.queue))
	}
}

// TestTimedHandler hears when packets came in, before the reader slept, and where a batch ends.
func TestTimedHandler(t *testing.T) {
	u := listenLoopback(t)
	type arrival struct{ sent, received, handled time.Time }
	started := time.Now()
	arrivals, ends := make(chan arrival, 100), make(chan int, 100)
	handled := 0
	l := u.Lend(ClassUTP)
	l.HandleTimed(func(packet []byte, _ netip.AddrPort, received time.Time) bool {
		handled++
		now := time.Now()
		arrivals <- arrival{started.Add(time.Duration(binary.BigEndian.Uint64(packet[20:]))), received, now}
		if packet[19] == 1 {
			time.Sleep(50 * time.Millisecond) // the next one waits in the system
		}
		return true
	}, func() { ends <- handled })
	c := dialSocket(t, u)
	for i := range 2 {
		packet := binary.BigEndian.AppendUint64(append(zeros("41001234", 19), byte(1-i)), uint64(time.Since(started)))
		if _, err := c.Write(packet); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			for handled := false; !handled; time.Sleep(time.Millisecond) {
				handled = len(arrivals) > 0 // it sleeps now
			}
		}
	}
	for i := range 2 {
		a := <-arrivals
		if a.received.Before(a.sent.Add(-time.Millisecond)) || a.received.After(a.handled) {
			t.Errorf("packet %d came %v after it was sent, and %v before it was handled", i, a.received.Sub(a.sent), a.handled.Sub(a.received))
		}
		if waited := a.handled.Sub(a.received); i == 1 && drains && waited < 30*time.Millisecond {
			t.Errorf("the packet that waited came %v before it was handled, want about 50ms", waited)
		}
	}
	for n := 0; n < 2; {
		n = <-ends
	}
	l.Close()
	if flushed := list(&u.flushed); len(flushed) != 0 {
		t.Errorf("%d are told of batches after Close", len(flushed))
	}
}

// TestPace has packets gather while few at a time come fast, and not otherwise.
func TestPace(t *testing.T) {
	start := time.Now()
	for _, test := range []struct {
		packets int
		since   time.Duration
		want    bool
	}{
		{1, busyGap / 2, true},
		{1, 2 * busyGap, false},
		{10, 5 * busyGap, true},
		{10, 20 * busyGap, false},
		{fullDrain, time.Microsecond, false},
	} {
		p := pace{last: start}
		if got := p.tooFast(test.packets, start.Add(test.since)); got != test.want {
			t.Errorf("%d packets after %v: %v, want %v", test.packets, test.since, got, test.want)
		}
	}
}

// TestBurst sends more packets than one wake-up reads; all arrive, in their order.
func TestBurst(t *testing.T) {
	u := listenLoopback(t)
	l := u.Lend(ClassUTP)
	c := dialSocket(t, u)
	const n = 3 * maxDrain
	for i := range n {
		if _, err := c.Write(append(utpPacket[:len(utpPacket):len(utpPacket)], byte(i))); err != nil {
			t.Fatal(err)
		}
	}
	b := make([]byte, 100)
	l.SetReadDeadline(time.Now().Add(10 * time.Second))
	for i := range n {
		size, _, err := l.ReadFromUDPAddrPort(b)
		if err != nil || b[size-1] != byte(i) {
			t.Fatalf("packet %d: %v, %v", i, b[:size], err)
		}
	}
}

func TestMappedAddressesAreUnmapped(t *testing.T) {
	u := listenLoopback(t)
	l := u.Lend(ClassUTP)
	u.deliver(utpPacket, netip.MustParseAddrPort("[::ffff:10.0.0.1]:7"), time.Now())
	_, from, err := l.ReadFromUDPAddrPort(make([]byte, 100))
	if err != nil || from != netip.MustParseAddrPort("10.0.0.1:7") {
		t.Fatal(from, err)
	}
}

func TestLargePacketOverLoopback(t *testing.T) {
	u := listenLoopback(t)
	l := u.Lend(ClassUTP)
	l.SetReadDeadline(time.Now().Add(3 * time.Second))
	if _, err := dialSocket(t, u).Write(zeros("01001234", 9000)); err != nil {
		t.Fatal(err)
	}
	if n, _, err := l.ReadFrom(make([]byte, maxDatagram)); n != 9000 || err != nil {
		t.Fatal(n, err)
	}
}

func TestLendingWhilePacketsArrive(t *testing.T) {
	u := listenLoopback(t)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				u.deliver(dhtPacket, netip.MustParseAddrPort("127.0.0.1:1"), time.Now())
			}
		}
	})
	for range 100 {
		l := u.Lend(ClassDHT)
		l.ReadFrom(make([]byte, 100))
		l.Close()
	}
	close(stop)
	wg.Wait()
}

// BenchmarkLent measures the way of a packet through the socket's goroutine to its
// borrower, without the system's part.
func BenchmarkLent(b *testing.B) {
	u := listenLoopback(b)
	l := u.Lend(ClassUTP)
	packet := zeros("01001234", 1200)
	from := netip.MustParseAddrPort("127.0.0.1:1")
	buf := make([]byte, 2048)
	b.SetBytes(int64(len(packet)))
	b.ReportAllocs()
	for b.Loop() {
		u.deliver(packet, from, time.Now())
		l.ReadFromUDPAddrPort(buf)
	}
}
