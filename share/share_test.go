package share

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/causeway-bt/causeway/web"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// only is a torrent that is nothing but described.
type only struct{ web.Torrent }

func (o only) InfoHash() string          { return o.Torrent.InfoHash }
func (o only) Describe() web.Torrent     { return o.Torrent }
func (o only) Status() web.TorrentStatus { return web.TorrentStatus{InfoHash: o.Torrent.InfoHash} }
func (o only) File(t, w []string) ([]byte, error) {
	return []byte(strings.Join(append(t, w...), " ")), nil
}
func (o only) Magnet(trackers, seeds []string) string { return "magnet:" + strings.Join(trackers, ",") }

const hash = "0123456789abcdef0123456789abcdef01234567"

func newServer(t *testing.T, cfg Config) *Server {
	t.Helper()
	cfg.Torrents = func() []Torrent { return []Torrent{only{web.Torrent{InfoHash: hash, Name: "<img onerror=x>"}}} }
	said := func(text string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) })
	}
	cfg.Files, cfg.Tracker = said("a file"), said("a tracker")
	s := New(cfg)
	t.Cleanup(s.Close)
	return s
}

// ask makes a request of 192.0.2.7 unless prepare says otherwise.
func ask(s http.Handler, method, target, body string, prepare func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Host, r.RemoteAddr = "192.0.2.1:8080", "192.0.2.7:1234"
	if prepare != nil {
		prepare(r)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func want(t *testing.T, w *httptest.ResponseRecorder, status int, text string) {
	t.Helper()
	if w.Code != status || !strings.Contains(w.Body.String(), text) {
		t.Errorf("answered %d %q, want %d and %q", w.Code, w.Body.String(), status, text)
	}
}

func TestNamesOfOthersAreRefused(t *testing.T) {
	s := newServer(t, Config{Public: &url.URL{Scheme: "https", Host: "share.example"}, Hosts: []string{"den.local"}})
	for host, status := range map[string]int{
		"192.0.2.1:8080": 200, "[2001:db8::1]:8080": 200, "localhost:8080": 200, "LOCALHOST": 200, "share.example": 200, "den.local:1": 200,
		"":                  200, // HTTP/1.0
		"evil.example:8080": 403, "localhost.evil.example": 403, "share.example.evil": 403, "127.0.0.1.evil.example": 403, "a b": 403,
	} {
		w := ask(s, "GET", "/", "", func(r *http.Request) { r.Host = host })
		if w.Code != status {
			t.Errorf("Host %q: %d, want %d", host, w.Code, status)
		}
	}
}

func TestPageTellsTheWaysBackHere(t *testing.T) {
	s := newServer(t, Config{ICE: func(_ *http.Request, page string) []web.ICEServer {
		return []web.ICEServer{{URLs: []string{"turn:x"}, Username: page}}
	}})
	first, second := ask(s, "GET", "/share.json", "", nil).Body.String(), ask(s, "GET", "/share.json", "", nil).Body.String()
	if !strings.Contains(first, `"ws://192.0.2.1:8080/announce"`) || !strings.Contains(first, `"/torrent/`+hash+`.torrent"`) {
		t.Errorf("share.json: %s", first)
	}
	if first == second {
		t.Error("two page loads have the same TURN credentials")
	}
	want(t, ask(s, "GET", "/torrent/"+hash+".torrent", "", nil), 200,
		"http://192.0.2.1:8080/announce ws://192.0.2.1:8080/announce http://192.0.2.1:8080/t/"+hash+"/")
	overTLS := ask(s, "GET", "/share.json", "", func(r *http.Request) { *r = *r.WithContext(SecureContext(r.Context())) })
	if !strings.Contains(overTLS.Body.String(), `"wss://192.0.2.1:8080/announce"`) {
		t.Errorf("over TLS: %s", overTLS.Body)
	}
	page := ask(s, "GET", "/", "", nil).Body.String()
	if strings.Contains(page, "<img onerror") {
		t.Errorf("a name came into the page as HTML: %s", page)
	}
}

func TestPageIsReadOnlyAndRefusesPolitely(t *testing.T) {
	s := newServer(t, Config{})
	for _, target := range []string{"/share.json", "/status.json", "/torrent/" + hash + ".torrent", "/"} {
		for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "CONNECT"} {
			if w := ask(s, method, target, "x", nil); w.Code != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: %d", method, target, w.Code)
			}
		}
	}
	for _, target := range []string{
		"/torrent/", "/torrent/x", "/torrent/" + hash, "/torrent/" + strings.Repeat("f", 40) + ".torrent", "/torrent/..%2f..%2fetc%2fpasswd.torrent",
		"/k/", "/k/x/announce", "/k/" + s.doors.announceKey + "/", "/k/" + s.doors.announceKey + "/share.json", "/receive/upload", "/receive/torrent",
		"/t/" + hash + "/stats.json", "/t/" + hash + "/stats.json?x", "/assets/..%2f..%2fgo.mod", "/" + strings.Repeat("a", 4096), "/%00", "/nothing",
	} {
		if w := ask(s, "GET", target, "", nil); w.Code != http.StatusNotFound {
			t.Errorf("GET %.80s: %d", target, w.Code)
		}
	}
	want(t, ask(s, "GET", "/t/"+hash+"/folder/stats.json", "", nil), 200, "a file")
	for _, query := range []string{"?page=" + strings.Repeat("x", 5000), "?page=%00&host=-1", "?host=9e99&viewers=0x10", "?;;&&=", "?page[]=1&page=2&page=3"} {
		if w := ask(s, "GET", "/status.json"+query, "", nil); w.Code != 200 {
			t.Errorf("GET /status.json%.40s: %d", query, w.Code)
		}
	}
}

func cookie(w *httptest.ResponseRecorder) func(*http.Request) {
	cookies := w.Result().Cookies()
	return func(r *http.Request) {
		for _, c := range cookies {
			r.AddCookie(c)
		}
	}
}

func form(r *http.Request) { r.Header.Set("Content-Type", "application/x-www-form-urlencoded") }

func TestPasswordLetsIn(t *testing.T) {
	key := []byte("remembered")
	s := newServer(t, Config{Password: "open sesame", Key: key})
	for _, target := range []string{"/share.json", "/status.json", "/t/" + hash + "/film", "/torrent/" + hash + ".torrent", "/announce", "/scrape", "/sw.js"} {
		w := ask(s, "GET", target, "", nil)
		want(t, w, 401, "password")
		if challenge := w.Header().Get("WWW-Authenticate"); !strings.HasPrefix(challenge, "Basic ") {
			t.Errorf("%s tells players nothing of how to say it (RFC 9110 section 11.6.1): %q", target, challenge)
		}
		w = ask(s, "GET", target, "", func(r *http.Request) { r.Header.Set("Sec-Fetch-Mode", "cors") })
		if w.Code != 401 || w.Header().Get("WWW-Authenticate") != "" {
			t.Errorf("%s has a browser open a window: %d", target, w.Code)
		}
	}
	sheet, _, _ := strings.Cut(ask(s, "GET", "/", "", nil).Body.String(), `/page.css`)
	if _, sheet, _ = strings.Cut(sheet[strings.LastIndex(sheet, "href="):], `"`); ask(s, "GET", sheet+"/page.css", "", nil).Code != 200 {
		t.Errorf("the form has no style: %s", sheet)
	}
	asked := ask(s, "GET", "/", "", nil)
	want(t, asked, 401, "not encrypted")
	if policy := asked.Header().Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") {
		t.Errorf("the form's policy: %q", policy)
	}
	want(t, ask(s, "POST", "/login", "password=wrong", form), 401, "That is not it")
	in := ask(s, "POST", "/login", "password=open+sesame", form)
	if in.Code != http.StatusSeeOther {
		t.Fatalf("the right password: %d %s", in.Code, in.Body)
	}
	for _, c := range in.Result().Cookies() {
		if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode {
			t.Errorf("the cookie can be read or sent by others: %v", c)
		}
	}
	want(t, ask(s, "GET", "/share.json", "", cookie(in)), 200, "/k/"+s.doors.announceKey+"/announce")
	want(t, ask(s, "GET", "/k/"+s.doors.announceKey+"/announce", "", nil), 200, "a tracker")
	want(t, ask(s, "GET", "/t/"+hash+"/film", "", cookie(in)), 200, "a file")
	want(t, ask(s, "GET", "/t/"+hash+"/film", "", func(r *http.Request) { r.SetBasicAuth("", "open sesame") }), 200, "a file")
	want(t, ask(s, "GET", "/t/"+hash+"/film", "", func(r *http.Request) { r.SetBasicAuth("", "no") }), 401, "")
	want(t, ask(s, "GET", "/share.json", "", func(r *http.Request) {
		cookie(in)(r)
		r.Header.Set("Cookie", r.Header.Get("Cookie")+"0")
	}), 401, "")

	again := newServer(t, Config{Password: "open sesame", Key: key})
	want(t, ask(again, "GET", "/share.json", "", cookie(in)), 200, "")
	changed := newServer(t, Config{Password: "another", Key: key})
	want(t, ask(changed, "GET", "/share.json", "", cookie(in)), 401, "")
}

func TestOtherSitesCannotGuessThePassword(t *testing.T) {
	s := newServer(t, Config{Password: "secret"})
	w := ask(s, "POST", "/login", "password=secret", func(r *http.Request) { form(r); r.Header.Set("Origin", "https://evil.example") })
	want(t, w, 403, "")
	w = ask(s, "POST", "/login", "password=secret", func(r *http.Request) { form(r); r.Header.Set("Sec-Fetch-Site", "cross-site") })
	want(t, w, 403, "")
	want(t, ask(s, "POST", "/login", "password="+strings.Repeat("x", maxPassword), form), 400, "")
}

func TestGuessesAreLimitedPerAddress(t *testing.T) {
	s := newServer(t, Config{Password: "secret"})
	from := func(address string) func(*http.Request) {
		return func(r *http.Request) { form(r); r.RemoteAddr = address }
	}
	for range guessBurst {
		want(t, ask(s, "POST", "/login", "password=wrong", from("[2001:db8::1]:1")), 401, "")
	}
	want(t, ask(s, "POST", "/login", "password=secret", from("[2001:db8::2]:1")), 429, "Too many")
	want(t, ask(s, "POST", "/login", "password=secret", from("192.0.2.9:1")), 303, "")
	for i := range maxGuessers + 10 {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		s.doors.try("wrong", netip.PrefixFrom(a, 32))
	}
	if n := len(s.doors.guessers); n > maxGuessers {
		t.Errorf("%d addresses are remembered", n)
	}
}

func TestViewsAreBrowsersAndEndTheShare(t *testing.T) {
	s := newServer(t, Config{Views: 2, Linger: time.Millisecond})
	want(t, ask(s, "GET", "/share.json", "", nil), 403, "page first")
	first, second := ask(s, "GET", "/", "", nil), ask(s, "GET", "/", "", nil)
	for range 5 {
		ask(s, "GET", "/", "", nil) // looks at the title, as messengers do
		want(t, ask(s, "GET", "/share.json", "", cookie(first)), 200, "")
	}
	if n := s.Figures().Views; n != 1 {
		t.Errorf("one browser that reloads is %d views", n)
	}
	release := s.doors.visit() // a film that runs
	want(t, ask(s, "GET", "/t/"+hash+"/film", "", cookie(second)), 200, "a file")
	third := ask(s, "GET", "/", "", nil)
	want(t, third, 410, "ended")
	want(t, ask(s, "GET", "/status.json", "", cookie(first)), 200, "")
	select {
	case <-s.Ended():
		t.Error("it ended while a film ran")
	case <-time.After(2 * watchEvery):
	}
	release()
	select {
	case <-s.Ended():
	case <-time.After(5 * time.Second):
		t.Fatal("it did not end when the last viewer had gone")
	}
	want(t, ask(s, "GET", "/status.json", "", cookie(first)), 410, "ended")
}

func TestExpireEndsTheShare(t *testing.T) {
	s := newServer(t, Config{Expire: 50 * time.Millisecond})
	want(t, ask(s, "GET", "/share.json", "", nil), 200, "")
	select {
	case <-s.Ended():
	case <-time.After(5 * time.Second):
		t.Fatal("it did not end")
	}
	want(t, ask(s, "GET", "/share.json", "", nil), 410, "ended")
	want(t, ask(s, "GET", "/", "", nil), 410, "ended")
}

func TestWithTLSPeopleAreSentToIt(t *testing.T) {
	s := newServer(t, Config{RequireTLS: true})
	w := ask(s, "GET", "/x?y", "", nil)
	if w.Code != http.StatusTemporaryRedirect || w.Header().Get("Location") != "https://192.0.2.1:8080/x?y" {
		t.Errorf("%d to %q", w.Code, w.Header().Get("Location"))
	}
	want(t, ask(s, "GET", "/", "", func(r *http.Request) { r.RemoteAddr = "127.0.0.1:1" }), 200, "")
	want(t, ask(s, "GET", s.EnginePath(), "", nil), 200, "a tracker")
}

func TestPagesAreCountedAndCannotSayAnything(t *testing.T) {
	s := newServer(t, Config{})
	page := s.pages.load(httptest.NewRequest("GET", "/share.json", nil))
	l := s.pages.open[page]
	say := func(query string) { ask(s, "GET", "/status.json?page="+page+query, "", nil) }
	l.heard = time.Now().Add(-time.Second)
	say("&host=1000&viewers=500&http=20")
	if got := s.Figures().Got; got != (Got{1000, 500, 20}) {
		t.Errorf("got %+v", got)
	}
	say("&host=900&viewers=-5&http=99999999999999999999")
	if got := s.Figures().Got; got != (Got{1000, 500, 20}) {
		t.Errorf("figures went back, or beyond numbers: %+v", got)
	}
	l.heard = time.Now().Add(-time.Second)
	say("&viewers=9223372036854775807")
	if got := s.Figures().Got.Viewers; got > 3*maxPageRate {
		t.Errorf("a page had %d bytes counted in a second", got)
	}
	ask(s, "GET", "/status.json?page=unknown&host=77", "", nil)
	if f := s.Figures(); f.Viewers != 1 || f.Loads != 1 || f.Got.Host != 1000 {
		t.Errorf("figures: %+v", f)
	}
	// One of an earlier run, or that has slept: what it got before is not counted again.
	slept := newID()
	ask(s, "GET", "/status.json?page="+slept+"&host=5000", "", nil)
	s.pages.open[slept].heard = time.Now().Add(-time.Second)
	ask(s, "GET", "/status.json?page="+slept+"&host=5007", "", nil)
	if f := s.Figures(); f.Viewers != 2 || f.Got.Host != 1007 {
		t.Errorf("figures with a page that has slept: %+v", f)
	}
	if again := s.pages.load(httptest.NewRequest("GET", "/share.json?page="+page, nil)); again != page {
		t.Error("a page that takes share.json again is another one")
	}
	for range maxPages + 100 {
		s.pages.load(httptest.NewRequest("GET", "/share.json", nil))
	}
	if n := len(s.pages.open); n > maxPages {
		t.Errorf("%d pages are remembered", n)
	}
}

func TestMemoryKeepsTheLink(t *testing.T) {
	folder := t.TempDir()
	m, err := Remember(folder, []string{"/a", "/b"})
	if err != nil {
		t.Fatal(err)
	}
	m.Port, m.PeerPort = 4711, 4712
	if err := m.Save(); err != nil {
		t.Fatal(err)
	}
	again, err := Remember(folder, []string{"/a", "/b"})
	if err != nil || again.Port != 4711 || again.PeerPort != 4712 || string(again.Key) != string(m.Key) {
		t.Errorf("remembered %+v, %v", again, err)
	}
	other, err := Remember(folder, []string{"/a/b"})
	if err != nil || other.Port != 0 || string(other.Key) == string(m.Key) {
		t.Errorf("another share has the memory of the first: %+v, %v", other, err)
	}
}

func TestQRIsSquare(t *testing.T) {
	lines, err := QR("https://share.example:8080/")
	if err != nil || len(lines) < 15 {
		t.Fatalf("%d lines, %v", len(lines), err)
	}
	for _, line := range lines {
		if width := strings.Count(line, "█") + strings.Count(line, "▀") + strings.Count(line, "▄") + strings.Count(line, " "); width != 2*len(lines) && width != 2*len(lines)-1 {
			t.Errorf("a line of %d characters, each half as wide as high, of %d", width, len(lines))
		}
	}
	if _, err := QR(strings.Repeat("x", 10_000)); err == nil {
		t.Error("a link that no code holds was drawn")
	}
}

func TestProxyTellsWhoComes(t *testing.T) {
	s := newServer(t, Config{Password: "secret", From: func(r *http.Request) netip.Addr {
		a, _ := netip.ParseAddr(r.Header.Get("X-Forwarded-For"))
		return a
	}})
	from := func(address string) func(*http.Request) {
		return func(r *http.Request) { form(r); r.Header.Set("X-Forwarded-For", address) }
	}
	for range guessBurst + 1 {
		ask(s, "POST", "/login", "password=wrong", from("198.51.100.1"))
	}
	want(t, ask(s, "POST", "/login", "password=secret", from("198.51.100.1")), 429, "Too many")
	want(t, ask(s, "POST", "/login", "password=secret", from("198.51.100.2")), 303, "")
}
