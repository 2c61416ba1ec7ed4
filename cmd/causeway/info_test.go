package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// scrapeTrackers are a tracker that answers scrapes over HTTP, one over WebSocket, one
// that nobody listens for and one that never answers.
func scrapeTrackers(t *testing.T) (good, webSocket, dead, silent string) {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/scrape", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "d5:filesd20:%sd8:completei5e10:downloadedi50e10:incompletei7eeee", r.URL.Query().Get("info_hash"))
	})
	mux.HandleFunc("/announce", func(http.ResponseWriter, *http.Request) { t.Error("info has announced") })
	mux.HandleFunc("/socket", func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer conn.CloseNow()
		_, b, err := conn.Read(r.Context())
		var asked struct {
			InfoHash []string `json:"info_hash"`
		}
		if err == nil {
			err = json.Unmarshal(b, &asked)
		}
		if err == nil && len(asked.InfoHash) == 1 {
			b, err = json.Marshal(map[string]any{"action": "scrape", "files": map[string]any{
				asked.InfoHash[0]: map[string]int{"complete": 2, "incomplete": 3, "downloaded": 4},
			}})
		}
		if err == nil {
			err = conn.Write(r.Context(), websocket.MessageText, b)
		}
		if err == nil {
			_, _, _ = conn.Read(r.Context()) // until it goes
		}
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	closed := httptest.NewServer(nil)
	closed.Close()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { udp.Close() })
	return server.URL + "/announce", "ws" + strings.TrimPrefix(server.URL, "http") + "/socket",
		closed.URL + "/announce", "udp://" + udp.LocalAddr().String()
}

func TestInfoShowsSwarms(t *testing.T) {
	good, webSocket, dead, silent := scrapeTrackers(t)
	root := album(t)
	causeway(t, root, "create", "album", "-o", "x.torrent", "--tracker", good+","+dead, "--tracker", webSocket).want(t, exitDone)

	text := causeway(t, root, "info", "x.torrent").want(t, exitDone).stdout
	refused := "connection refused by " + strings.TrimSuffix(strings.TrimPrefix(dead, "http://"), "/announce")
	for url, want := range map[string]string{good: "5 7 50", webSocket: "2 3 4", dead: refused} {
		found := false
		for line := range strings.Lines(text[strings.LastIndex(text, "\nTracker "):]) {
			found = found || strings.Join(strings.Fields(line), " ") == url+" "+want
		}
		if !found {
			t.Errorf("no %q for %s in\n%s", want, url, text)
		}
	}
	if text := causeway(t, root, "info", "x.torrent", "--no-trackers").want(t, exitDone).stdout; strings.Contains(text, "Leeches") {
		t.Errorf("--no-trackers: %s", text)
	}

	start := time.Now()
	r := causeway(t, root, "info", "x.torrent", "--json", "--tracker", silent, "--tracker", good).want(t, exitDone)
	if took := time.Since(start); took > scrapeTimeout+patient/2 {
		t.Errorf("took %v", took)
	}
	infoHash := r.one(t, "torrent")["infohash"]
	got := map[any]event{}
	for _, e := range r.events(t) {
		if e["event"] == "tracker" {
			if got[e["url"]] != nil {
				t.Errorf("two events for %v", e["url"])
			}
			got[e["url"]] = e
		}
	}
	if e := got[good]; e["state"] != "ok" || e["seeds"] != 5.0 || e["leeches"] != 7.0 || e["completed"] != 50.0 || e["infohash"] != infoHash {
		t.Errorf("%s: %v", good, e)
	}
	if e := got[webSocket]; e["state"] != "ok" || e["seeds"] != 2.0 || e["leeches"] != 3.0 || e["completed"] != 4.0 {
		t.Errorf("%s: %v", webSocket, e)
	}
	if e := got[dead]; e["state"] != "error" || e["message"] != refused {
		t.Errorf("%s: %v", dead, e)
	}
	if e := got[silent]; e["state"] != "error" || !strings.HasPrefix(fmt.Sprint(e["message"]), "no answer") {
		t.Errorf("%s: %v", silent, e)
	}
	if _, err := hex.DecodeString(fmt.Sprint(infoHash)); err != nil || len(got) != 4 {
		t.Errorf("%d trackers of %v", len(got), infoHash)
	}
}
