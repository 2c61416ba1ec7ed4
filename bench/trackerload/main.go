//go:build linux

// Command trackerload is the load program of the bench section "tracker": it announces to
// one tracker as fast as that answers, over UDP, HTTP or WebSocket, and prints one JSON
// line. It speaks the protocols only, so that it treats all trackers alike, and does as
// little per announce as it can, so that it is not what is measured: requests are made
// once and patched, system calls come in batches or from one epoll loop, and it never
// sleeps, because to wake it would cost the tracker.
//
//	trackerload -proto udp -addr 127.0.0.1:6969 -pid 4711 -swarms 1000 -peers 50
//	trackerload -list 1000   # the infohashes, for a tracker that wants to know them
//
// Peers come from many loopback addresses, as peers do, and stay what they are: each has
// one swarm, one address and one port. Linux only: sendmmsg, epoll, /proc.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/causeway-bt/causeway/bench/proc"
)

// options say what to do to which tracker.
type options struct {
	proto    string
	addr     netip.AddrPort
	pid      int // of the tracker
	world    world
	conns    int           // open at a time
	warm     time.Duration // of announces that are not counted
	duration time.Duration
	most     int  // announces, warm-up included; the load is bounded in time and count
	fill     bool // announce each peer once, and stop
	hold     time.Duration
}

// result is what is printed.
type result struct {
	Announces int     `json:"announces"` // answered, after the warm-up
	Seconds   float64 `json:"seconds"`
	Lost      int     `json:"lost"`       // not answered
	Offers    int     `json:"offers"`     // relayed to us
	Answers   int     `json:"answers"`    // relayed to us
	Peers     int     `json:"peers"`      // addresses in the answers
	ServerCPU float64 `json:"server_cpu"` // seconds
	Idle      float64 `json:"idle"`       // share of the time in which this program only waited
	Before    int64   `json:"before"`     // the tracker's RssAnon, bytes, before the first announce
	After     int64   `json:"after"`      // and at the end
	Held      int     `json:"held"`       // connections that were open at the end
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "trackerload:", err)
		os.Exit(1)
	}
}

func run() error {
	var o options
	var addr string
	var list int
	flag.StringVar(&o.proto, "proto", "udp", "udp, http (keep-alive), http-once (a connection for each announce) or ws")
	flag.StringVar(&addr, "addr", "", "address of the tracker")
	flag.IntVar(&o.pid, "pid", 0, "process id of the tracker")
	flag.IntVar(&o.world.swarms, "swarms", 1000, "swarms")
	flag.IntVar(&o.world.each, "peers", 50, "peers in each swarm")
	flag.IntVar(&o.world.sources, "sources", 64, "addresses that the peers have")
	flag.IntVar(&o.conns, "conns", 256, "connections at a time, for http and http-once; ws has one for each peer")
	flag.DurationVar(&o.warm, "warm", time.Second, "time that is not counted, after each peer was announced once")
	flag.DurationVar(&o.duration, "duration", 5*time.Second, "time that is counted")
	flag.IntVar(&o.most, "most", 20_000_000, "announces at most")
	flag.BoolVar(&o.fill, "fill", false, "announce each peer once, and look at the memory")
	flag.DurationVar(&o.hold, "hold", 0, "ws: hold the connections so long, each announcing once a minute, and look at the memory")
	flag.IntVar(&list, "list", 0, "only print so many infohashes")
	flag.Parse()
	for s := range list {
		fmt.Printf("%x\n", infoHash(s))
	}
	if list > 0 {
		return nil
	}
	var err error
	if o.addr, err = netip.ParseAddrPort(addr); err != nil {
		return err
	}
	if o.proto == "ws" {
		o.conns = o.world.total()
	}
	files, err := raiseFiles(o.conns + filesBeside)
	if err != nil {
		return err
	}
	if o.proto == "ws" { // whose connections are its peers
		o.world.swarms = min(o.world.swarms, (files-filesBeside)/o.world.each)
	}
	runtime.LockOSThread()
	drive := map[string]func(options, *meter) error{
		"udp": runUDP, "http": runHTTP, "http-once": runHTTP, "ws": runWeb,
	}[o.proto]
	if drive == nil {
		return fmt.Errorf("no protocol %q", o.proto)
	}
	m := &meter{o: o}
	if m.Before, err = proc.RssAnon(o.pid); err != nil {
		return err
	}
	if err := drive(o, m); err != nil {
		return err
	}
	if o.fill {
		m.Announces = m.answered
	}
	if m.After, err = proc.RssAnon(o.pid); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(m.result)
}

// filesBeside is how many files, beside its connections, this program or the tracker has open.
const filesBeside = 200

// raiseFiles lets n files be open at a time, or as many as may be, and returns that.
func raiseFiles(n int) (int, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, err
	}
	if limit.Cur >= uint64(n) {
		return n, nil
	}
	if unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(n), Max: max(limit.Max, uint64(n))}) == nil {
		return n, nil
	}
	n = int(min(limit.Max, uint64(n))) // for more, one has to be allowed to raise the hard limit
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(n), Max: limit.Max}); err != nil {
		return 0, fmt.Errorf("have %d files open: %w", n, err)
	}
	return n, nil
}

// meter counts what was answered, and knows when to stop.
type meter struct {
	result
	o        options
	answered int // in all
	last     int // answered when the clock was last looked at
	warmed   time.Time
	counting bool
	begun    time.Time
	cpu      time.Duration
	waited   time.Duration // since begun
}

// clockEvery is how many answers pass between two looks at the clock.
const clockEvery = 64

// answer counts one answer; done says that it was the last. Errors are those of reading
// the processor time.
func (m *meter) answer() (done bool, err error) {
	m.answered++
	if m.counting {
		m.Announces++
	}
	if m.answered < m.last+clockEvery {
		return false, nil
	}
	m.last = m.answered
	return m.look(time.Now())
}

// look advances from filling to warming, counting and the end.
func (m *meter) look(now time.Time) (done bool, err error) {
	switch {
	case m.answered < m.o.world.total() || m.o.fill:
		return false, nil // the driver says when all are announced
	case m.warmed.IsZero():
		m.warmed = now
	case m.counting:
		if now.Sub(m.begun) >= m.o.duration || m.answered >= m.o.most {
			return true, m.end(now)
		}
	case now.Sub(m.warmed) >= m.o.warm:
		m.counting, m.begun, m.waited = true, now, 0
		m.Lost, m.Offers, m.Answers, m.Peers = 0, 0, 0, 0
		m.cpu, err = proc.CPU(m.o.pid)
	}
	return false, err
}

func (m *meter) end(now time.Time) error {
	cpu, err := proc.CPU(m.o.pid)
	m.Seconds = now.Sub(m.begun).Seconds()
	m.ServerCPU = (cpu - m.cpu).Seconds()
	m.Idle = m.waited.Seconds() / m.Seconds
	return err
}

// patience is how long a tracker may leave everything unanswered.
const patience = 10 * time.Second

var errSilent = errors.New("the tracker has answered nothing for " + patience.String())
