package main_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/causeway-bt/causeway/bench/realpeer"
)

// Programs that use WebSocket trackers and PeerJS servers for other things than torrents.

// webApps is where npm installs them, beside the pages.
var webApps = filepath.Join("testdata", "webapps")

// appPages opens pages of a headless Chromium that run one of the scripts with the
// tracker's URL.
func appPages(t *testing.T, script, url string, pages int) *realpeer.Browser {
	t.Helper()
	realpeer.Need(t, realpeer.Chromium, realpeer.WebTorrent)
	esbuild := filepath.Join(webApps, "node_modules", ".bin", "esbuild")
	if _, err := os.Stat(esbuild); errors.Is(err, fs.ErrNotExist) {
		if os.Getenv("CAUSEWAY_REQUIRE_PEERS") == "1" {
			t.Fatalf("CAUSEWAY_REQUIRE_PEERS=1, but the npm packages of %s are missing: %v", webApps, err)
		}
		t.Skipf("the npm packages of %s are missing (make test-deps): %v", webApps, err)
	}
	cmd := exec.Command(esbuild, filepath.Join(webApps, script), "--bundle", "--format=esm", "--conditions=p2pml:core-as-bundle", "--log-level=warning")
	cmd.Stderr = os.Stderr
	bundle, err := cmd.Output()
	if err != nil {
		t.Fatalf("bundle %s: %v", script, err)
	}
	return realpeer.StartBrowser(t, realpeer.BrowserOptions{
		Browser: realpeer.Chromium, Pages: pages, ShowAddresses: true,
		HTML: fmt.Sprintf("<!doctype html><meta charset=utf-8><title>%s</title><script>TRACKER = %q</script><script type=module>%s</script>",
			script, url, strings.ReplaceAll(string(bundle), "</script", `<\/script`)),
	})
}

// pageSays waits until a page reports an event with a message.
func pageSays(t *testing.T, b *realpeer.Browser, page int, event, message string) {
	t.Helper()
	if _, err := b.Events.Wait(within(t, patience), fmt.Sprintf("page %d to report %s %q", page, event, message), func(e realpeer.PageEvent) bool {
		return e.Page == page && e.Event == event && e.Message == message
	}); err != nil {
		t.Fatal(err)
	}
}

// Two pages of trystero chat.
func TestTrackerForTrystero(t *testing.T) {
	t.Parallel()
	b := appPages(t, "trystero.js", openMeetingPoint(t, realpeer.Host).ws, 2)
	pageSays(t, b, 0, "message", "hello from page 1")
	pageSays(t, b, 1, "message", "hello from page 0")
}

// Two pages of P2P Media Loader share a segment.
func TestTrackerForMediaLoader(t *testing.T) {
	t.Parallel()
	b := appPages(t, "p2pml.js", openMeetingPoint(t, realpeer.Host).ws, 2)
	pageSays(t, b, 0, "segment", "http")
	for page := range 2 {
		if _, err := b.WaitPage(within(t, patience), page, "peer"); err != nil {
			t.Fatal(err)
		}
	}
	pageSays(t, b, 1, "segment", "p2p")
}

// Pages of PeerJS exchange messages, come back when the server was gone, and cannot both
// have an id.
func TestTrackerForPeerJS(t *testing.T) {
	t.Parallel()
	m := openMeetingPoint(t, realpeer.Host, "--peerjs")
	url := fmt.Sprintf("http://%s:%d", realpeer.Host, m.port)
	b := appPages(t, "peerjs.js", url, 3)
	pageSays(t, b, 0, "open", "alice")
	pageSays(t, b, 1, "open", "bob")
	if _, err := b.WaitPage(within(t, patience), 2, "unavailable-id"); err != nil {
		t.Fatal(err)
	}
	if e, err := b.WaitPage(within(t, patience), 0, "id"); err != nil || len(e.Message) < 16 {
		t.Errorf("an id of the server's making: %q, %v", e.Message, err)
	}
	pageSays(t, b, 0, "data", "question 1")
	pageSays(t, b, 1, "data", "answer to question 1")

	m.Kill()
	pageSays(t, b, 0, "disconnected", "")
	openMeetingPoint(t, realpeer.Host, "--peerjs", "--port", fmt.Sprint(m.port))
	pageSays(t, b, 0, "open again", "alice")
	pageSays(t, b, 1, "open again", "bob")
	pageSays(t, b, 1, "data", "answer to question 2")
}
