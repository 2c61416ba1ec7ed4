package main_test

import (
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"testing"

	"github.com/causeway-bt/causeway/bench/cli"
	"github.com/causeway-bt/causeway/bench/netns"
	"github.com/causeway-bt/causeway/bench/proc"
)

// TestPeersComeThroughTheMappedPort: a seed behind a home router, which has miniupnpd, is
// reached from outside at the port that it tells, as long as it runs.
func TestPeersComeThroughTheMappedPort(t *testing.T) {
	t.Parallel()
	world := netns.New(t)
	home, stranger := world.Home(netns.Config{}), world.Public(1)
	router := home.UPnP()
	tor := single(t, 1<<20)
	offline := []string{"--no-dht", "--no-trackers"}
	run := behindGateway(t, home.Host(), args([]string{"seed", tor.Path, "--data", tor.Dir}, offline)...)
	mapped, err := run.WaitFor(within(t, patience), "a mapped port", func(e cli.Event) bool { return e.Event == "portmap" && e.State == "ok" })
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(mapped.External)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	download := runAt(t, stranger, args([]string{"download", tor.Path, "-o", dir, "--port", "0",
		"--peer", net.JoinHostPort(home.Router.IPv4[0].String(), port)}, offline)...)
	finish(t, download, tor, dir)
	run.Stop()
	if rules := router.Rules(); len(rules) != 0 {
		t.Errorf("still mapped after the end: %q", rules)
	}
}

// behindGateway runs causeway at a host whose gateway it may ask for ports.
func behindGateway(t *testing.T, host *netns.Host, arguments ...string) *cli.Run {
	t.Helper()
	return launch(t, proc.Spec{Command: host.Exec(), Args: arguments, Env: args(cli.Isolated, []string{"CAUSEWAY_NO_PORTMAP=false"})})
}

// TestOtherMappedPortIsAnnounced: where the gateway maps another port than ours, that is the one
// that trackers are told.
func TestOtherMappedPortIsAnnounced(t *testing.T) {
	t.Parallel()
	world := netns.New(t)
	home, server := world.Home(netns.Config{}), world.Public(1)
	const mapped = 40123
	startNATPMP(t, home.Router, netip.MustParseAddr("192.168.7.1"), mapped)
	var listener net.Listener
	var err error
	server.Do(func() { listener, err = net.Listen("tcp4", netip.AddrPortFrom(server.IPv4[0], 0).String()) })
	if err != nil {
		t.Fatal(err)
	}
	ports := make(chan string, 100)
	tracker := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case ports <- r.URL.Query().Get("port"):
		default:
		}
		_, _ = io.WriteString(w, "d8:intervali1800e5:peers0:e")
	})}
	var serving sync.WaitGroup
	serving.Go(func() { _ = tracker.Serve(listener) })
	t.Cleanup(func() {
		tracker.Close()
		serving.Wait()
	})
	tor := single(t, 1<<16)
	run := behindGateway(t, home.Host(), "seed", tor.Path, "--data", tor.Dir, "--tracker", "http://"+listener.Addr().String()+"/announce", "--no-dht")
	ctx := within(t, patience)
	for {
		select {
		case port := <-ports:
			if port == strconv.Itoa(mapped) {
				return
			}
		case <-ctx.Done():
			t.Fatalf("the tracker never heard port %d\n%s", mapped, run.Output())
		}
	}
}
