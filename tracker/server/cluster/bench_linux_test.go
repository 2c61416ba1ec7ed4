package cluster

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"github.com/causeway-bt/causeway/tracker/server/table"
)

// natsProcess says in the environment that this program is to be a NATS server.
const natsProcess = "CAUSEWAY_BENCH_NATS"

// TestNATSProcess is no test, but the NATS server of BenchmarkAnnounce, which is a process
// of its own so that its processor time is known.
func TestNATSProcess(t *testing.T) {
	if os.Getenv(natsProcess) == "" {
		t.Skip("is run by BenchmarkAnnounce")
	}
	ns := startNATS(t, natsserver.Options{})
	fmt.Println(ns.url())
	_, _ = os.Stdin.Read(make([]byte, 1)) // until the benchmark ends
}

// processor is a process's user and system time.
func processor(b *testing.B, pid int) time.Duration {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	ticks := 0
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100
}

// BenchmarkAnnounce compares announces to the node's own table with those that another node
// owns, of peers of 50 in each of a thousand swarms. Processor time is that of both
// nodes together, and of the NATS server; bytes are those of messages, both ways.
func BenchmarkAnnounce(b *testing.B) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestNATSProcess$")
	cmd.Env = append(os.Environ(), natsProcess+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() {
		_ = in.Close()
		_ = cmd.Wait()
	}()
	var url string
	if _, err := fmt.Fscanln(out, &url); err != nil {
		b.Fatal(err)
	}
	var nodes [2]*Cluster
	for i := range nodes {
		if nodes[i], err = New(Config{URL: url, Node: fmt.Sprint("node-", i)}); err != nil {
			b.Fatal(err)
		}
		nodes[i].Over(table.New(table.Config{}))
		defer nodes[i].Close()
	}
	for len(nodes[0].Status().Members) < 2 || len(nodes[1].Status().Members) < 2 {
		time.Sleep(time.Millisecond)
	}
	run := func(name string, owner, inFlight int) {
		b.Run(name, func(b *testing.B) {
			announceMany(b, nodes[0], benchSwarms(nodes[owner]), inFlight, cmd.Process.Pid, nodes[:])
		})
	}
	run("local", 0, 1)
	run("forwarded", 1, 10_000)
	run("forwarded, ten at a time", 1, 10)
	run("forwarded, one at a time", 1, 1)
}

// benchSwarms makes announces of 50 peers in each of 1000 swarms of a node, which has them
// all.
func benchSwarms(owner *Cluster) (all []table.Announce) {
	for i := 0; len(all) < 50_000; i++ {
		h := table.Hash{byte(i), byte(i >> 8), byte(i >> 16)}
		if !owner.mine(&h) {
			continue
		}
		for p := range 50 {
			all = append(all, table.Announce{
				Hash: h, ID: table.ID{byte(p), byte(i)}, NumWant: 50,
				Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(p), byte(i), byte(i >> 8)}), 6881),
			})
		}
	}
	for i := range all {
		var r table.Reply
		_ = owner.table.Announce(&all[i], &r)
	}
	return all
}

func announceMany(b *testing.B, from *Cluster, all []table.Announce, inFlight, nats int, nodes []*Cluster) {
	traffic := func() (n int64) {
		for _, c := range nodes {
			n += c.counters.bytesOut.Load()
		}
		return n
	}
	free := make(chan struct{}, inFlight)
	for range inFlight {
		free <- struct{}{}
	}
	b.ReportAllocs()
	batches := func() (n uint64) {
		for _, c := range nodes {
			n += c.counters.batchesOut.Load()
		}
		return n
	}
	bytes, sent, ours, theirs := traffic(), batches(), selfTime(b), processor(b, nats)
	var failed atomic.Int64
	b.ResetTimer()
	for i := range b.N {
		a := &all[i*7919%len(all)]
		var r table.Reply
		err := from.Announce(a, &r)
		if err == nil {
			continue
		}
		<-free
		from.AnnounceLater(a, func(_ *table.Reply, err error) {
			if err != nil {
				failed.Add(1)
			}
			free <- struct{}{}
		})
	}
	for range inFlight {
		<-free
	}
	b.StopTimer()
	if failed.Load() > 0 {
		b.Errorf("%d of %d announces failed", failed.Load(), b.N)
	}
	b.ReportMetric(float64(selfTime(b)-ours)/float64(b.N), "node-cpu-ns/op")
	b.ReportMetric(float64(processor(b, nats)-theirs)/float64(b.N), "nats-cpu-ns/op")
	b.ReportMetric(float64(traffic()-bytes)/float64(b.N), "bytes/op")
	b.ReportMetric(float64(batches()-sent)/float64(b.N), "batches/op")
}

// selfTime is this process's user and system time.
func selfTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
