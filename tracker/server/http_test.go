package server

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/anacrolix/torrent/bencode"
	"github.com/causeway-bt/causeway/tracker/server/table"
)

// reply is an announce's or scrape's, as BEP 3, 7, 23, 24, 31 and 48 have it.
type reply struct {
	Failure    string           `bencode:"failure reason"`
	RetryIn    any              `bencode:"retry in"`
	Interval   int              `bencode:"interval"`
	Min        int              `bencode:"min interval"`
	Complete   int              `bencode:"complete"`
	Incomplete int              `bencode:"incomplete"`
	Downloaded int              `bencode:"downloaded"`
	External   string           `bencode:"external ip"`
	Peers      any              `bencode:"peers"`
	Peers6     string           `bencode:"peers6"`
	Files      map[string]count `bencode:"files"`
	Flags      map[string]int   `bencode:"flags"`
}

type count struct {
	Complete    int `bencode:"complete"`
	Incomplete  int `bencode:"incomplete"`
	Downloaded  int `bencode:"downloaded"`
	Downloaders int `bencode:"downloaders"`
}

func announceURL(base string, h, id [20]byte, more string) string {
	return fmt.Sprintf("%s/announce?info_hash=%s&peer_id=%s%s", base, url.QueryEscape(string(h[:])), url.QueryEscape(string(id[:])), more)
}

// get asks for a URL and reads the reply.
func get(t testing.TB, url string, header ...string) (r reply) {
	t.Helper()
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	res, err := testClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("%s: %s, %v: %s", url, res.Status, err, body)
	}
	if err := bencode.Unmarshal(body, &r); err != nil {
		t.Fatalf("%q: %v", body, err)
	}
	return r
}

var testClient = &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// bothWays runs a test against Serve and against ServeHTTP under net/http.
func bothWays(t *testing.T, cfg Config, test func(t *testing.T, s *running, base string)) {
	t.Run("Serve", func(t *testing.T) {
		s := start(t, cfg)
		test(t, s, "http://"+s.tcp)
	})
	t.Run("ServeHTTP", func(t *testing.T) {
		s := start(t, cfg)
		h := httptest.NewServer(s.Server)
		defer h.Close()
		test(t, s, h.URL)
	})
}

func TestHTTPAnnounceAndScrape(t *testing.T) {
	bothWays(t, Config{}, func(t *testing.T, s *running, base string) {
		get(t, announceURL(base, hash(1), id(1), "&port=1111&left=0&event=started"))
		get(t, announceURL(base, hash(1), id(2), "&port=2222&left=9223372036854775807&event=paused")) // of a magnet link
		r := get(t, announceURL(base+"/some/path", hash(1), id(3), "&port=3333&left=7&uploaded=0&downloaded=0&compact=1&event=started&key=abc&x"))
		if r.Failure != "" || r.Complete != 1 || r.Incomplete != 2 || r.External != "\x7f\x00\x00\x01" {
			t.Fatalf("%+v", r)
		}
		if r.Interval < 1800 || r.Interval > 1980 || r.Min != 300 {
			t.Errorf("intervals %d, %d", r.Interval, r.Min)
		}
		peers := r.Peers.(string)
		for _, p := range []string{"\x7f\x00\x00\x01\x04\x57", "\x7f\x00\x00\x01\x08\xae"} {
			if len(peers) != 12 || !strings.Contains(peers, p) {
				t.Errorf("peers %x without %x", peers, p)
			}
		}
		get(t, announceURL(base, hash(1), id(3), "&port=3333&left=0&event=completed"))
		h1, h9 := hash(1), hash(9)
		sc := get(t, base+"/scrape?info_hash="+url.QueryEscape(string(h9[:]))+"&info_hash="+url.QueryEscape(string(h1[:])))
		want := count{Complete: 2, Incomplete: 1, Downloaded: 1}
		if len(sc.Files) != 2 || sc.Files[string(h1[:])] != want || sc.Files[string(h9[:])] != (count{}) || sc.Flags["min_request_interval"] != 300 {
			t.Errorf("scrape %+v", sc)
		}
		get(t, announceURL(base, hash(1), id(3), "&port=3333&left=0&event=stopped"))
		if n := s.Table().Size().Peers4; n != 2 {
			t.Errorf("%d peers after one of three has left", n)
		}
	})
}

func TestHTTPPeersAsDictionaries(t *testing.T) {
	bothWays(t, Config{}, func(t *testing.T, s *running, base string) {
		six := table.Announce{Hash: hash(1), ID: id(6), Addr: netip.MustParseAddrPort("[2001:db8::1]:66")}
		if err := s.Table().Announce(&six, &table.Reply{}); err != nil {
			t.Fatal(err)
		}
		get(t, announceURL(base, hash(1), id(1), "&port=1111"))
		for _, more := range []string{"&compact=0", "&compact=0&no_peer_id=1"} {
			r := get(t, announceURL(base, hash(1), id(2), "&port=2222&numwant=9"+more))
			got := make(map[string]int64)
			for _, p := range r.Peers.([]any) {
				d := p.(map[string]any)
				got[d["ip"].(string)] = d["port"].(int64)
			}
			if len(got) != 2 || got["127.0.0.1"] != 1111 || got["2001:db8::1"] != 66 {
				t.Fatalf("%s: %v", more, got)
			}
		}
		r := get(t, announceURL(base, hash(1), id(2), "&port=2222"))
		if r.Peers6 != "\x20\x01\x0d\xb8"+strings.Repeat("\x00", 11)+"\x01\x00\x42" {
			t.Errorf("peers6 %x", r.Peers6)
		}
	})
}

func TestHTTPRefusesInWords(t *testing.T) {
	deny := t.TempDir() + "/deny"
	h7 := hash(7)
	if err := os.WriteFile(deny, fmt.Appendf(nil, "%x not this one\n", h7), 0o600); err != nil {
		t.Fatal(err)
	}
	bothWays(t, Config{Deny: deny}, func(t *testing.T, s *running, base string) {
		id20 := "&peer_id=" + strings.Repeat("i", 20)
		hash20 := "?info_hash=" + strings.Repeat("h", 20)
		for _, c := range []struct{ query, want string }{
			{"", "no info_hash"},
			{"?info_hash=&port=5" + id20, "info_hash is not 20 bytes"},
			{"?info_hash=" + strings.Repeat("h", 19) + id20, "info_hash is not 20 bytes"},
			{"?info_hash=" + strings.Repeat("h", 2000) + id20, "info_hash is not 20 bytes"},
			{hash20 + "&port=5", "no peer_id"},
			{hash20 + "&port=5&peer_id=" + strings.Repeat("%41", 21), "peer_id is not 20 bytes"},
			{hash20 + "&port=0" + id20, "port"},
			{hash20 + id20, "port"},
			{hash20 + "&port=65536" + id20, "port"},
			{hash20 + "&port=-1" + id20, "port"},
			{hash20 + "&port=5&left=x" + id20, "left is not a number"},
			{hash20 + "&port=5&event=party" + id20, "no such event"},
			{"?info_hash=%zz&port=5" + id20, "percent"},
			{"?info_hash=%4", "percent"},
			{"?info_hash=" + url.QueryEscape(string(h7[:])) + "&port=5" + id20, "not tracked here"},
		} {
			r := get(t, base+"/announce"+c.query)
			if !strings.Contains(r.Failure, c.want) {
				t.Errorf("%s: %q, want %q", c.query, r.Failure, c.want)
			}
			if c.want == "not tracked here" && r.RetryIn != int64(24*60) {
				t.Errorf("retry in %v", r.RetryIn)
			}
		}
		if r := get(t, base+"/scrape"); r.Failure == "" {
			t.Errorf("a scrape of everything: %+v", r)
		}
		if r := get(t, base+"/scrape?"+strings.Repeat("&info_hash="+strings.Repeat("h", 20), 75)); !strings.Contains(r.Failure, "more than 74") {
			t.Errorf("75 infohashes: %+v", r)
		}
	})
}

func TestWhoseAddressAnAnnounceIsFor(t *testing.T) {
	for _, c := range []struct {
		trust  string
		header []string
		more   string
		want   string
	}{
		{"", []string{"X-Forwarded-For", "192.0.2.5"}, "&ip=192.0.2.6", "\x7f\x00\x00\x01"},
		{"10.0.0.0/8", []string{"X-Forwarded-For", "192.0.2.5"}, "&ip=192.0.2.6", "\x7f\x00\x00\x01"},
		{"127.0.0.0/8", []string{"X-Forwarded-For", "6.6.6.6, 192.0.2.5"}, "", "\xc0\x00\x02\x05"},
		{"127.0.0.0/8", []string{"X-Forwarded-For", "6.6.6.6", "X-Forwarded-For", "192.0.2.5,127.9.9.9"}, "", "\xc0\x00\x02\x05"},
		{"127.0.0.0/8", []string{"X-Forwarded-For", "192.0.2.5"}, "&ip=192.0.2.6", "\xc0\x00\x02\x05"},
		{"127.0.0.0/8", nil, "&ip=192.0.2.6", "\xc0\x00\x02\x06"},
		{"127.0.0.0/8", nil, "", "\x7f\x00\x00\x01"},
		{"127.0.0.0/8", []string{"X-Forwarded-For", "2001:db8::5"}, "", "\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x05"},
		{"127.0.0.0/8", []string{"X-Forwarded-For", "nonsense"}, "", "\x7f\x00\x00\x01"},
	} {
		var cfg Config
		if c.trust != "" {
			cfg.TrustProxy = []netip.Prefix{netip.MustParsePrefix(c.trust)}
		}
		bothWays(t, cfg, func(t *testing.T, s *running, base string) {
			r := get(t, announceURL(base, hash(1), id(1), "&port=5"+c.more), c.header...)
			if r.External != c.want {
				t.Errorf("%+v: for %x, want %x", c, r.External, c.want)
			}
		})
	}
}

// TestRequestsInOneConnection mixes what the server's own loop and net/http answer.
func TestRequestsInOneConnection(t *testing.T) {
	s := start(t, Config{})
	c, err := net.Dial("tcp", s.tcp)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	a := "GET " + announceURL("", hash(1), id(1), "&port=1&left=0") + " HTTP/1.1\r\nHost: x\r\n\r\n"
	in := bufio.NewReader(c)
	next := func(want string) {
		t.Helper()
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		if !strings.Contains(string(body), want) || res.StatusCode != 200 {
			t.Fatalf("%s %q, want %q", res.Status, body, want)
		}
	}
	send := func(text string) {
		t.Helper()
		if _, err := c.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	send(a[:10])
	send(a[10:])
	next("8:complete")
	send(a + a + a[:30]) // together, and cut
	next("8:complete")
	next("8:complete")
	send(a[30:] + "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" + a)
	next("8:complete")
	next("ok\n")
	next("8:complete") // by net/http from here on
	send("GET /stats.json HTTP/1.1\r\nHost: x\r\n\r\n")
	next(`"swarms":1`)
	if n := s.Stats().HTTP.Announces.Load(); n != 5 {
		t.Errorf("%d announces were counted", n)
	}
}

func TestConnectionsEndAsAsked(t *testing.T) {
	s := start(t, Config{})
	for _, end := range []string{" HTTP/1.0\r\n\r\n", " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"} {
		c, err := net.Dial("tcp", s.tcp)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprint(c, "GET "+announceURL("", hash(1), id(1), "&port=1")+end)
		c.SetReadDeadline(time.Now().Add(20 * time.Second))
		all, err := io.ReadAll(c)
		if err != nil || !bytes.Contains(all, []byte("Connection: close")) || !bytes.HasSuffix(all, []byte("e")) {
			t.Errorf("%q: %q, %v", end, all, err)
		}
	}
}

func TestPages(t *testing.T) {
	s := start(t, Config{})
	get(t, announceURL("http://"+s.tcp, hash(1), id(1), "&port=1&left=0"))
	page := func(path string) (string, *http.Response) {
		res, err := testClient.Get("http://" + s.tcp + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		return string(b), res
	}
	if b, _ := page("/healthz"); b != "ok\n" {
		t.Errorf("healthz: %q", b)
	}
	b, _ := page("/stats.json")
	var sum Summary
	if err := json.Unmarshal([]byte(b), &sum); err != nil || sum.Swarms != 1 || sum.Peers.IPv4 != 1 || sum.Fronts["http"].Announces != 1 {
		t.Errorf("%s: %v", b, err)
	}
	b, _ = page("/metrics")
	for _, want := range []string{
		"causeway_tracker_swarms 1\n", `causeway_tracker_peers{kind="ipv4"} 1` + "\n",
		`causeway_tracker_announces_total{front="http"} 1` + "\n", `causeway_tracker_announces_total{front="udp"} 0` + "\n",
	} {
		if !strings.Contains(b, want) {
			t.Errorf("/metrics lacks %q", want)
		}
	}
	b, res := page("/stats")
	if !strings.Contains(b, "<dt>Torrents</dt><dd>1</dd>") || strings.Contains(b, "<script") || !strings.Contains(res.Header.Get("Content-Type"), "text/html") {
		t.Errorf("/stats: %s", b)
	}
	if _, res := page("/nothing"); res.StatusCode != 404 {
		t.Errorf("%s for a page that is not there", res.Status)
	}
}

func TestUpgradesGoToTheWebSocketFront(t *testing.T) {
	s := start(t, Config{
		WebSocket: func(*Server) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "socket at ", r.URL.Path) })
		},
		PeerJS: func(*Server) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "peerjs at ", r.URL.Path) })
		},
	})
	for path, want := range map[string]string{
		"/": "socket at /", "/announce": "socket at /announce", "/x/announce": "socket at /x/announce",
		"/peerjs/id": "peerjs at /peerjs/id", "/other": "404 page not found\n",
	} {
		req, _ := http.NewRequest("GET", "http://"+s.tcp+path, nil)
		req.Header.Set("Upgrade", "websocket")
		req.Header.Set("Connection", "Upgrade")
		res, err := testClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if string(b) != want {
			t.Errorf("%s: %q, want %q", path, b, want)
		}
	}
}

func TestAccessLog(t *testing.T) {
	var log syncBuffer
	s := start(t, Config{AccessLog: slog.New(slog.NewJSONHandler(&log, nil))})
	get(t, announceURL("http://"+s.tcp, hash(1), id(1), "&port=1111&left=0&event=started"))
	c := dialUDP(t, s.udp)
	c.ask(append(announcePacket(c.connect(), hash(1), id(2), 5, 0, -1, 2222), "\x02\x04/a?b"...))
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	var got [2]map[string]any
	for i := range got {
		if len(lines) != 2 || json.Unmarshal([]byte(lines[i]), &got[i]) != nil {
			t.Fatalf("log %q", lines)
		}
	}
	if got[0]["front"] != "http" || got[0]["addr"] != "127.0.0.1:1111" || got[0]["event"] != "started" || got[0]["state"] != "seed" ||
		got[0]["info_hash"] != fmt.Sprintf("%x", hash(1)) || got[1]["front"] != "udp" || got[1]["url"] != "/a?b" {
		t.Errorf("%v", got)
	}
}

// Clients that do not know the size of a magnet link's torrent say the largest number they have.
func TestNumbersOfClients(t *testing.T) {
	for text, want := range map[string]uint64{"0": 0, "9223372036854775807": 1<<63 - 1, "18446744073709551615": 1<<64 - 1} {
		if n, ok := number([]byte(text)); !ok || n != want {
			t.Errorf("%s is %d, %v", text, n, ok)
		}
	}
	for _, text := range []string{"", "-1", "+1", "1.5", "0x10", "1_0", "18446744073709551616"} {
		if n, ok := number([]byte(text)); ok {
			t.Errorf("%q is %d", text, n)
		}
	}
}
