package path_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/causeway-bt/causeway/bench/path"
	"github.com/causeway-bt/causeway/bench/proc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPathTakesItsRoundTrip(t *testing.T) {
	p := path.Start(t, path.Config{RTT: 60 * time.Millisecond})
	// The least: a busy machine adds to the others.
	if least := probe(t, p); least < 60*time.Millisecond || least > 75*time.Millisecond {
		t.Errorf("a round trip of %v", least)
	}
	if err := p.Set(path.Config{}); err != nil {
		t.Fatal(err)
	}
	if least := probe(t, p); least > 20*time.Millisecond {
		t.Errorf("afterwards a round trip of %v", least)
	}
}

// probe returns the least of some round trips.
func probe(t *testing.T, p *path.Path) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	trips, err := p.Probe(ctx, 10*time.Millisecond)
	if err != nil || len(trips) < 5 {
		t.Fatalf("round trips of %v, %v", trips, err)
	}
	return slices.Min(trips)
}

// TCP through the path, with the segments and checksums that the kernel would leave to a
// device: it fills the path, and no more.
func TestPathKeepsTCPToItsRate(t *testing.T) {
	for _, family := range []string{"IPv4", "IPv6"} {
		p := path.Start(t, path.Config{Rate: 4e6, RTT: 20 * time.Millisecond})
		at := p.A().IP
		if family == "IPv6" {
			at = p.A().IP6
		}
		var l net.Listener
		if err := p.A().Do(func() (err error) { l, err = net.Listen("tcp", net.JoinHostPort(at, "0")); return err }); err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		const size = 4 << 20
		go func() {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			_, _ = c.Write(make([]byte, size))
		}()
		var c net.Conn
		if err := p.B().Do(func() (err error) { c, err = net.Dial("tcp", l.Addr().String()); return err }); err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		began := time.Now()
		n, err := io.Copy(io.Discard, c)
		took := time.Since(began)
		there, back := p.Counters()
		if rate := float64(n) / took.Seconds(); err != nil || n != size || rate > 4e6 || rate < 1e6 {
			t.Errorf("%s: %d bytes in %v, %.0f a second, %v; %+v, %+v", family, n, took, rate, err, there, back)
		}
		if there.Bytes < size || there.Packets < size/1460 || back.Packets == 0 || back.Bytes > size/4 {
			t.Errorf("%s: %+v, %+v", family, there, back)
		}
	}
}

// send sends numbered datagrams of 1,000 bytes from A to B and returns the numbers of those
// that came, as they came.
func send(t *testing.T, p *path.Path, n int, gap time.Duration) (came []uint32) {
	t.Helper()
	var from, to net.PacketConn
	listen := func(h *path.Host, c *net.PacketConn) {
		if err := h.Do(func() (err error) { *c, err = net.ListenPacket("udp4", h.IP+":0"); return err }); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { (*c).Close() })
	}
	listen(p.A(), &from)
	listen(p.B(), &to)
	if err := to.(*net.UDPConn).SetReadBuffer(4 << 20); err != nil { // more than all
		t.Fatal(err)
	}
	sent := make(chan error, 1)
	go func() {
		b := make([]byte, 1000)
		for i := range n {
			binary.BigEndian.PutUint32(b, uint32(i))
			if _, err := from.WriteTo(b, to.LocalAddr()); err != nil {
				sent <- err
				return
			}
			time.Sleep(gap)
		}
		sent <- nil
	}()
	b := make([]byte, 2000)
	for deadline := time.Now().Add(20 * time.Second); ; {
		_ = to.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if size, _, err := to.ReadFrom(b); err == nil && size == 1000 {
			came = append(came, binary.BigEndian.Uint32(b))
		} else if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		} else if there, _ := p.Counters(); there.Lost+there.Dropped+int64(len(came)) >= int64(n) || time.Now().After(deadline) {
			break
		}
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	return came
}

func TestPathLosesAndReorders(t *testing.T) {
	p := path.Start(t, path.Config{Loss: 0.05, Reorder: 0.05, Late: 20 * time.Millisecond})
	const n = 1000
	came := send(t, p, n, 200*time.Microsecond)
	there, _ := p.Counters()
	lost := int64(n - len(came))
	// What the hosts say of their addresses may be lost, too.
	if len(came) < n*90/100 || len(came) > n*98/100 || there.Lost < lost || there.Lost > lost+5 || there.Overruns != 0 {
		t.Errorf("%d of %d came: %+v", len(came), n, there)
	}
	overtaken := 0
	for i := 1; i < len(came); i++ {
		if came[i] < came[i-1] {
			overtaken++
		}
	}
	if overtaken < n*1/100 || there.Late < n*2/100 {
		t.Errorf("%d were overtaken: %+v", overtaken, there)
	}
}

func TestPathDropsWhatItsQueueCannotHold(t *testing.T) {
	p := path.Start(t, path.Config{Rate: 1e6, Queue: 50 * time.Millisecond})
	const n = 200
	came := send(t, p, n, 0) // at once: 50 wait in the queue
	there, _ := p.Counters()
	if len(came) < 45 || there.Dropped < n/4 || there.Queued < 45*time.Millisecond || there.Queued > 50*time.Millisecond {
		t.Errorf("%d came: %+v", len(came), there)
	}
	p.Reset()
	if there, _ := p.Counters(); there != (path.Counters{}) {
		t.Errorf("after the reset: %+v", there)
	}
}

func TestPathsSideBySideLeaveNothing(t *testing.T) {
	p, q := path.Start(t, path.Config{}), path.Start(t, path.Config{})
	names := func() string {
		out, err := exec.Command("ip", "netns", "list").CombinedOutput()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	var ours []string
	for _, h := range []*path.Host{p.A(), p.B(), q.A(), q.B()} {
		name := h.Exec()[3]
		if slices.Contains(ours, name) || !strings.Contains(names(), name) {
			t.Errorf("%s is in %v or not in %s", name, ours, names())
		}
		ours = append(ours, name)
	}
	p.Close()
	q.Close()
	for _, name := range ours {
		if strings.Contains(names(), name) {
			t.Errorf("%s is left", name)
		}
	}
}

func TestCommandRunsAtAHost(t *testing.T) {
	p := path.Start(t, path.Config{})
	t.Setenv("http_proxy", "http://192.0.2.1:1/")
	out, err := p.B().Command(t.Context(), "sh", "-c", "ip -4 -o address show dev eth0; echo proxy=$http_proxy.").CombinedOutput()
	if err != nil || !strings.Contains(string(out), p.B().IP) || !strings.Contains(string(out), "proxy=.") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestPathThatCannotBe(t *testing.T) {
	if path.Available() != nil {
		t.Skip(path.Available())
	}
	for _, c := range []path.Config{
		{Rate: -1}, {RTT: -1}, {Loss: 1.5}, {Reorder: -0.1}, {Back: &path.Config{Loss: 2}}, {Back: &path.Config{Back: &path.Config{}}},
	} {
		if p, err := path.New(context.Background(), c); err == nil {
			p.Close()
			t.Errorf("%+v was made", c)
		}
	}
}

func TestFlowFillsThePathWithItsCongestionControl(t *testing.T) {
	p := path.Start(t, path.Config{Rate: 4e6, RTT: 10 * time.Millisecond})
	if f, err := p.Flow("no such"); err == nil {
		f.Close()
		t.Error("a flow with a congestion control that there is not")
	}
	system, err := path.Congestion()
	if err != nil {
		t.Fatal(err)
	}
	f, err := p.Flow(system)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for deadline := time.Now().Add(20 * time.Second); f.Received() < 1<<20; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes came", f.Received())
		}
	}
	if there, _ := p.Counters(); there.Bytes < 1<<20 || there.Begun.IsZero() {
		t.Errorf("counted %+v", there)
	}
}

// A program that ends with the thread that started it survives that this thread was at a
// host, or was the forwarder's.
func TestPathsEndNoPrograms(t *testing.T) {
	path.Need(t)
	var running []*proc.Process
	for range 4 {
		p := path.Start(t, path.Config{})
		for _, h := range []*path.Host{p.A(), p.B()} {
			cat, err := proc.Start(proc.Spec{Path: "cat", Command: h.Exec()})
			if err != nil {
				t.Fatal(err)
			}
			defer cat.Kill()
			running = append(running, cat)
			if err := h.Do(func() error { return nil }); err != nil {
				t.Fatal(err)
			}
		}
		p.Close()
	}
	for _, cat := range running {
		select {
		case <-cat.Done():
			t.Error("a program ended")
		default:
		}
	}
}
