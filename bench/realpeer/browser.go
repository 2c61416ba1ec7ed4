package realpeer

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/bench/proc"
)

//go:embed page.html
var pageSource []byte

// BrowserOptions describe a headless browser with some pages, each of which is a
// webtorrent.js peer with the same torrent.
type BrowserOptions struct {
	Browser       Program // Chromium or Firefox
	Pages         int     // 0: one
	ShowAddresses bool    // instead of hiding them behind mDNS names, as browsers do

	Trackers []string // WebSocket URLs, added to those of the torrent
	Torrent  string   // path of a .torrent file, or
	Magnet   string   // a magnet link, or
	Seed     string   // path of a file that the page makes a torrent of and seeds

	Relay    *TURN // the only way to others
	SkipHash bool  // of the content, once complete

	Command []string                     // is put before the command line, as `ip netns exec NAME`
	Listen  func() (net.Listener, error) // on loopback where the browser runs, if that is elsewhere

	Reopen bool // a page whose process died

	HTML  string   // of pages of the caller's own instead: they report by POST /event
	Typed []string // URLs that are opened as well, as if somebody had typed them
}

// PageEvent is something that a page reported.
type PageEvent struct {
	Received time.Time `json:"-"`
	Page     int       `json:"page"`  // from 0
	Event    string    `json:"event"` // announced, wire, metadata, first block, first piece, complete, seeding, status, warning, error
	MS       float64   `json:"ms"`    // milliseconds since the torrent was added, by the page's clock
	Message  string    `json:"message"`

	Length int64  `json:"length"` // of complete, bytes
	SHA256 string `json:"sha256"` // of complete: of the first file, hexadecimal

	Magnet   string `json:"magnet"`   // of seeding
	InfoHash string `json:"infohash"` // of seeding

	Progress   float64 `json:"progress"` // of status
	Downloaded int64   `json:"downloaded"`
	Uploaded   int64   `json:"uploaded"`
	Peers      int     `json:"peers"`

	Idle float64 `json:"idle"` // of pages of the soak: the longest time in which nothing came, ms
}

// Browser is a running browser.
type Browser struct {
	*proc.Process
	Events *proc.Journal[PageEvent]
	server *http.Server
}

// StartBrowser opens the pages for a test: the browser is closed when the test ends,
// and what the pages wrote to their consoles is logged if the test failed.
func StartBrowser(t testing.TB, o BrowserOptions) *Browser {
	t.Helper()
	Need(t, o.Browser, WebTorrent)
	b, err := LaunchBrowser(t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.Stop()
		if t.Failed() {
			t.Logf("consoles of %s:\n%s\nits events:", o.Browser, b.Output())
			for _, e := range b.Events.All() {
				if e.Event != "status" {
					t.Logf("%+v", e)
				}
			}
		}
	})
	return b
}

// LaunchBrowser opens the pages, with a profile in dir. The caller stops it.
func LaunchBrowser(dir string, o BrowserOptions) (*Browser, error) {
	path, err := script("browser.mjs")
	if err != nil {
		return nil, err
	}
	browserPath, err := exec.LookPath(string(o.Browser))
	if err != nil {
		return nil, err
	}
	b := &Browser{Events: &proc.Journal[PageEvent]{}}
	b.server = &http.Server{Handler: b.site(filepath.Dir(path), o), ReadHeaderTimeout: startTimeout}
	var urls []string
	for i := range max(o.Pages, 1) {
		// Each page has a port, and so an origin, of its own: webtorrent.js keeps its
		// pieces in the origin's storage by infohash.
		listener, err := o.listen()
		if err != nil {
			b.server.Close()
			return nil, fmt.Errorf("serve the page: %w", err)
		}
		go func() { _ = b.server.Serve(listener) }() // until Stop
		urls = append(urls, fmt.Sprintf("http://%s/?%d", listener.Addr(), i))
	}
	urls = append(urls, o.Typed...)
	flags, err := json.Marshal(map[string]any{
		"browser": map[Program]string{Chromium: "chrome", Firefox: "firefox"}[o.Browser],
		"path":    browserPath, "profile": filepath.Join(dir, "profile"),
		"showAddresses": o.ShowAddresses, "urls": urls, "reopen": o.Reopen,
	})
	if err == nil {
		b.Process, err = proc.Start(proc.Spec{Path: node, Args: []string{path, string(flags)}, Command: o.Command, Env: []string{"HOME=" + dir}})
	}
	if err != nil {
		b.server.Close()
		return nil, err
	}
	go func() {
		<-b.Done()
		b.Events.Close()
	}()
	return b, nil
}

func (o BrowserOptions) listen() (net.Listener, error) {
	if o.Listen != nil {
		return o.Listen()
	}
	return net.Listen("tcp", net.JoinHostPort(loopback, "0"))
}

// Stop closes the browser and the server of its pages.
func (b *Browser) Stop() {
	b.Process.Stop()
	b.server.Close()
}

// site is what the pages are made of.
func (b *Browser) site(scripts string, o BrowserOptions) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		if o.HTML != "" {
			_, _ = io.WriteString(w, o.HTML)
			return
		}
		_, _ = w.Write(pageSource)
	})
	serve := func(path, file string) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, file) })
	}
	serve("/webtorrent.min.js", filepath.Join(scripts, "node_modules", "webtorrent", "dist", "webtorrent.min.js"))
	serve("/torrent", o.Torrent)
	serve("/content", o.Seed)
	options := map[string]any{"magnet": o.Magnet, "trackers": o.Trackers, "hash": !o.SkipHash, "rtc": rtcConfig(o.Relay)}
	if o.Seed != "" {
		options["seed"] = filepath.Base(o.Seed)
	}
	mux.HandleFunc("GET /options", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(options)
	})
	mux.HandleFunc("POST /event", func(w http.ResponseWriter, r *http.Request) {
		e := PageEvent{Received: time.Now()}
		const maxEvent = 64 << 10
		if err := json.NewDecoder(io.LimitReader(r.Body, maxEvent)).Decode(&e); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		b.Events.Add(e)
	})
	return mux
}

// rtcConfig is an RTCConfiguration without the public STUN servers that webtorrent.js
// would ask: nothing leaves this machine.
func rtcConfig(relay *TURN) map[string]any {
	config := map[string]any{"iceServers": []any{}}
	if relay != nil {
		config["iceTransportPolicy"] = "relay"
		config["iceServers"] = []any{map[string]string{
			"urls": "turn:" + relay.Addr, "username": relay.User, "credential": relay.Password,
		}}
	}
	return config
}

// WaitPage returns the first event of that name from a page.
func (b *Browser) WaitPage(ctx context.Context, page int, event string) (PageEvent, error) {
	var refused error
	e, err := b.Events.Wait(ctx, fmt.Sprintf("page %d to report %q", page, event), func(e PageEvent) bool {
		if e.Page == page && e.Event == "error" {
			refused = errors.New(e.Message)
			return true
		}
		return e.Page == page && e.Event == event
	})
	if refused != nil {
		return e, fmt.Errorf("page %d failed before it reported %q: %w", page, event, refused)
	}
	if err != nil {
		return e, fmt.Errorf("%w\n%s", err, b.Output())
	}
	return e, nil
}
