package webrtcwire

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/causeway-bt/causeway/bench/realpeer"
)

const (
	browserTimeout = 90 * time.Second
	echoSize       = 32 << 20
)

// showAddresses makes Chromium name its addresses instead of hiding them.
var showAddresses = chromedp.Flag("disable-features", "WebRtcHideLocalIpsWithMdns")

// browse opens a page of testdata in a headless Chromium with a fresh profile.
func browse(t testing.TB, name string, flags ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	realpeer.Need(t, realpeer.Chromium)
	server := httptest.NewServer(http.FileServer(http.Dir("testdata")))
	t.Cleanup(server.Close)
	ctx, cancel := context.WithTimeout(context.Background(), browserTimeout)
	t.Cleanup(cancel)
	options := append([]chromedp.ExecAllocatorOption{
		chromedp.ExecPath(string(realpeer.Chromium)), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU,
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
	if err := chromedp.Do(ctx, chromedp.Navigate(server.URL+"/"+name)); err != nil {
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
		{"shown addresses", []chromedp.ExecAllocatorOption{showAddresses}, ":0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			page := browse(t, "echo.html", test.flags...)
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
	page := browse(t, "echo.html")
	remote, err := inspect(strings.ReplaceAll(call(t, page, "offer()"), "\r\n", "\n"))
	if err != nil {
		t.Fatal(err)
	}
	if len(remote.mdns) == 0 {
		t.Fatal("Chromium does not hide its addresses")
	}
	resolver := newResolver(false, &plainNetwork{}, slog.New(slog.DiscardHandler))
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

// TestChromiumReachedByItsName has a page that hides its address and does not learn
// ours: only our looking up of its name can connect the two.
func TestChromiumReachedByItsName(t *testing.T) {
	page := browse(t, "echo.html")
	resolver := newResolver(false, &plainNetwork{}, slog.New(slog.DiscardHandler))
	defer resolver.close()
	if _, err := resolver.open(); err != nil {
		t.Skipf("no multicast on this machine: %v", err)
	}
	transport, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer transport.Close()
	ctx := testContext(t)
	answer, err := transport.Answer(ctx, call(t, page, "offer()"))
	if err != nil {
		t.Fatal(err)
	}
	var silent strings.Builder
	for line := range strings.Lines(answer.SDP) {
		if !strings.HasPrefix(line, "a=candidate") {
			silent.WriteString(line)
		}
	}
	call(t, page, "accept("+quote(silent.String())+")")
	conn, err := answer.Wait(ctx)
	if err != nil {
		t.Fatal(err)
	}
	echo(t, conn, 1<<20)
}

// TestPagesThatVanishLeaveNothing kills browsers with all their pages: none of them
// says farewell.
func TestPagesThatVanishLeaveNothing(t *testing.T) {
	needsTime(t)
	const inBrowser = 50
	transport := loopbackTransport(t, func(c *Config) { c.MaxConns = manyPeers + inBrowser })
	var reading sync.WaitGroup
	browser := func(t *testing.T) {
		for _, conn := range connectPages(t, transport, inBrowser) {
			reading.Go(func() {
				if _, err := conn.Read(make([]byte, 1)); err == nil {
					t.Error("read from a page that sent nothing")
				}
				conn.Close()
			})
		}
	}
	t.Run("warm up", browser)
	reading.Wait()
	before := measure(t)
	for range manyPeers / inBrowser {
		t.Run("browser", browser)
	}
	t.Logf("after %d pages: %+v", manyPeers, measure(t))
	reading.Wait()
	returnsTo(t, before)
	if got := transport.Stats(); got.Connected != manyPeers+inBrowser || got.Conns != 0 {
		t.Errorf("stats %+v, want %d connections made and none left", got, manyPeers+inBrowser)
	}
}

// connectPages connects to n pages of a browser, which is then killed.
func connectPages(t *testing.T, transport *Transport, n int) (conns []*Conn) {
	t.Helper()
	page := browse(t, "pages.html", showAddresses, chromedp.Flag("allow-loopback-in-peer-connection", true))
	var offers []string
	if err := json.Unmarshal([]byte(call(t, page, fmt.Sprintf("offers(%d)", n))), &offers); err != nil {
		t.Fatal(err)
	}
	for i, offer := range offers {
		answer, err := transport.Answer(testContext(t), offer)
		if err != nil {
			t.Fatal(err)
		}
		call(t, page, fmt.Sprintf("accept(%d, %s)", i, quote(answer.SDP)))
		conn, err := answer.Wait(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	if err := chromedp.FromContext(page).Browser.Process().Kill(); err != nil {
		t.Fatal(err)
	}
	return conns
}

// withoutUDP are flags for a Chromium that sends WebRTC over TCP only.
var withoutUDP = []chromedp.ExecAllocatorOption{
	chromedp.Flag("force-webrtc-ip-handling-policy", "disable_non_proxied_udp"),
	chromedp.Flag("webrtc-ip-handling-policy", "disable_non_proxied_udp"),
}
