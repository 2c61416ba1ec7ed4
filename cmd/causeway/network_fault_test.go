package main_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/causeway-bt/causeway/bench/cli"
	"github.com/causeway-bt/causeway/bench/hostile"
	"github.com/causeway-bt/causeway/bench/proc"
)

func TestPortInUse(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	tor := single(t, 1000)
	run := start(t, "download", tor.Path, "-o", t.TempDir(), "--listen", "127.0.0.1", "--port", port,
		"--no-dht", "--no-trackers")
	failsWith(t, run, port)
}

// Without any network interface the program waits for one, and can be stopped.
func TestNoNetwork(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("runs unshare: not with -short")
	}
	if err := exec.Command("unshare", "--net", "true").Run(); err != nil {
		t.Skipf("a network namespace without interfaces cannot be made here: %v", err)
	}
	tor := single(t, 1000)
	run, err := cli.StartSpec(proc.Spec{Path: "unshare", Args: []string{
		"--net", program(t), "download", tor.Magnet(), "-o", t.TempDir(), "--state", t.TempDir(), "--port", "0", "--json",
		"--tracker", "http://192.0.2.1:1/announce", "--tracker", "udp://192.0.2.1:1/announce",
		"--peer", "192.0.2.1:1", "--dht-bootstrap", "192.0.2.1:1",
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(run.Stop)
	ctx := within(t, patience)
	if _, err := run.WaitEvent(ctx, "listening"); err != nil {
		t.Fatal(err)
	}
	_, err = run.WaitFor(ctx, "a tracker's error", func(e cli.Event) bool { return e.Event == "tracker" && e.State == "error" })
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Interrupt(); err != nil {
		t.Fatal(err)
	}
	waitExit(t, run, 130)
}

// rubbish is a tracker's answer that is of no use.
type rubbish struct {
	name string
	// lenient answers can be read as far as they go, and count as no error.
	lenient bool
	answer  http.HandlerFunc
}

// saying answers every announce with the same bytes.
func saying(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }
}

func endless(w http.ResponseWriter, r *http.Request) {
	fmt.Fprint(w, "d5:peers1000000000:")
	junk := make([]byte, 1<<16)
	for r.Context().Err() == nil {
		if _, err := w.Write(junk); err != nil {
			return
		}
	}
}

// A tracker can answer whatever it likes: the download goes on by other means, the
// user is told, and the tracker is not asked over and over.
func TestTrackerAnsweringRubbish(t *testing.T) {
	cases := []rubbish{
		{"not bencoded", false, saying("<html>Buy this domain</html>")},
		{"deeply nested", false, saying(strings.Repeat("l", 1<<20))},
		{"wrong types", true, saying("d8:completei-9223372036854775809e8:interval3:abc5:peersi7ee")},
		{"half a peer", true, saying("d8:intervali1800e5:peers7:abcdefge")},
		{"no interval", true, saying("d8:intervali0e12:min intervali-1e5:peers0:e")},
		{"a failure", false, saying("d14:failure reason3:no!8:intervali0ee")},
		{"status 500", false, func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "d5:peers0:e", http.StatusInternalServerError)
		}},
		{"redirecting for ever", false, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path+"x?"+r.URL.RawQuery, http.StatusFound)
		}},
		{"endless", false, endless},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int64
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				c.answer(w, r)
			}))
			t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
			downloadBeside(t, server.URL+"/announce", c.lenient)
			// Ten redirects are what Go's client follows; a few tries may be made.
			if n := asked.Load(); n > 60 {
				t.Errorf("the tracker was asked %d times", n)
			}
		})
	}
}

// downloadBeside downloads from a peer while a tracker misbehaves.
func downloadBeside(t *testing.T, tracker string, lenient bool) {
	t.Helper()
	tor := single(t, 1<<20)
	peer := scripted(t, tor, hostile.Slow(512<<10))
	dir := t.TempDir()
	run := start(t, args([]string{
		"download", tor.Path, "-o", dir, "--peer", peer.Addr(), "--tracker", tracker, "--no-dht", "--seed",
	}, base)...)
	ctx := within(t, patience)
	if _, err := run.WaitEvent(ctx, "complete"); err != nil {
		t.Fatal(err)
	}
	_, err := run.WaitFor(ctx, "the tracker's error", func(e cli.Event) bool {
		return e.Event == "tracker" && (lenient || e.State == "error" && e.Message != "")
	})
	if err != nil {
		t.Error(err)
	}
	const bound = 200 << 20
	if rss, err := proc.RssAnon(run.PID()); err == nil && rss > bound {
		t.Errorf("the program holds %d MiB after the tracker's answer", rss>>20)
	}
	if err := run.Interrupt(); err != nil {
		t.Fatal(err)
	}
	waitExit(t, run, 130)
	if err := tor.Compare(dir); err != nil {
		t.Error(err)
	}
}
