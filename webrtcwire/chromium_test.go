package webrtcwire

import (
	"bytes"
	"context"
	_ "embed"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

//go:embed testdata/echo.html
var echoPage string

const (
	chromiumName = "chromium"

	// requirePeers makes a missing program a failure instead of a skip.
	requirePeers = "CAUSEWAY_REQUIRE_PEERS"

	browserTimeout = 90 * time.Second
	echoSize       = 32 << 20
)

// need skips the test where a program is missing.
func need(t testing.TB, program, debianPackage string) {
	t.Helper()
	if _, err := exec.LookPath(program); err == nil {
		return
	}
	if os.Getenv(requirePeers) == "1" {
		t.Fatalf("%s=1, but %s is missing (Debian: %s)", requirePeers, program, debianPackage)
	}
	t.Skipf("%s is missing (Debian: %s)", program, debianPackage)
}

// browse opens testdata/echo.html in a headless Chromium with a fresh profile.
func browse(t testing.TB, flags ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	need(t, chromiumName, "chromium")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, echoPage)
	}))
	t.Cleanup(server.Close)
	ctx, cancel := context.WithTimeout(context.Background(), browserTimeout)
	t.Cleanup(cancel)
	options := append([]chromedp.ExecAllocatorOption{
		chromedp.ExecPath(chromiumName), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.NoFirstRun, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-dev-shm-usage", true),
	}, flags...)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // waits for Chromium to end
		cancel()
	})
	if err := chromedp.Do(ctx, chromedp.Navigate(server.URL)); err != nil {
		t.Fatalf("start chromium: %v", err)
	}
	return ctx
}

// call evaluates an expression of the page whose value is a promise of a string.
func call(t testing.TB, page context.Context, expression string) string {
	t.Helper()
	result, err := chromedp.Run(page, chromedp.Evaluate[string](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatalf("page: %s: %v", strings.SplitN(expression, "(", 2)[0], err)
	}
	return result
}

// quote makes a JavaScript string of a description.
func quote(s string) string {
	return "`" + strings.ReplaceAll(s, "`", "") + "`"
}

func connectPage(t testing.TB, page context.Context, transport *Transport, pageOffers bool) *Conn {
	t.Helper()
	ctx := testContext(t)
	if pageOffers {
		answer, err := transport.Answer(ctx, call(t, page, "offer()"))
		if err != nil {
			t.Fatal(err)
		}
		call(t, page, "accept("+quote(answer.SDP)+")")
		conn, err := answer.Wait(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	offer, err := transport.Offer(ctx)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := offer.Accept(ctx, call(t, page, "answer("+quote(offer.SDP)+")"))
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// echo sends bytes and compares what comes back.
func echo(t testing.TB, conn *Conn, size int) {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(browserTimeout)); err != nil {
		t.Fatal(err)
	}
	want := randomBytes(9, size)
	sent := make(chan error, 1)
	go func() {
		buffers := net.Buffers{}
		for rest := want; len(rest) > 0; {
			n := min(13, len(rest)) // as a piece message's header and block
			m := min(16<<10, len(rest)-n)
			buffers = append(buffers, rest[:n], rest[n:n+m])
			rest = rest[n+m:]
		}
		_, err := conn.WriteBuffers(&buffers)
		sent <- err
	}()
	got := make([]byte, size)
	if n, err := io.ReadFull(conn, got); err != nil {
		t.Fatalf("%d of %d bytes came back: %v", n, size, err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("bytes came back changed")
	}
}

// TestChromium echoes 32 MiB with a page: as offerer and as answerer, with its
// addresses hidden by mDNS names (Chromium's default) and shown.
func TestChromium(t *testing.T) {
	for _, test := range []struct {
		name  string
		flags []chromedp.ExecAllocatorOption
		bind  string
	}{
		{"hidden addresses", nil, ":0"},
		{"hidden addresses, we on loopback", nil, "127.0.0.1:0"},
		{"shown addresses", []chromedp.ExecAllocatorOption{chromedp.Flag("disable-features", "WebRtcHideLocalIpsWithMdns")}, ":0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			page := browse(t, test.flags...)
			udp, err := net.ListenPacket("udp", test.bind)
			if err != nil {
				t.Fatal(err)
			}
			transport, err := New(Config{PacketConns: []net.PacketConn{udp}})
			if err != nil {
				t.Fatal(err)
			}
			defer transport.Close()
			for _, pageOffers := range []bool{true, false} {
				start := time.Now()
				conn := connectPage(t, page, transport, pageOffers)
				connected := time.Since(start)
				start = time.Now()
				echo(t, conn, echoSize)
				took := time.Since(start)
				t.Logf("page offers: %v; connected after %v by %+v; %.1f MB/s each way", pageOffers,
					connected.Round(time.Millisecond), conn.Path(), echoSize/took.Seconds()/1e6)
				if err := conn.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestChromiumNamesResolve looks up the mDNS names in a page's offer. (In
// TestChromium the page may find us first.)
func TestChromiumNamesResolve(t *testing.T) {
	page := browse(t)
	remote, err := inspect(strings.ReplaceAll(call(t, page, "offer()"), "\r\n", "\n"))
	if err != nil {
		t.Fatal(err)
	}
	if len(remote.mdns) == 0 {
		t.Fatal("Chromium does not hide its addresses")
	}
	resolver := newResolver(false, slog.New(slog.DiscardHandler))
	defer resolver.close()
	if _, err := resolver.open(); err != nil {
		t.Skipf("no multicast on this machine: %v", err)
	}
	for _, name := range remote.mdns {
		addr, err := resolver.resolve(testContext(t), name.name)
		if err != nil || addr.IsLoopback() || addr.IsUnspecified() {
			t.Errorf("%s resolves to %v, %v", name.name, addr, err)
		}
	}
}
