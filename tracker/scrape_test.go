package tracker

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/tracker/internal/reach"
)

func TestScrapeURLs(t *testing.T) {
	for announce, want := range map[string]string{ // from BEP 48
		"http://example.com/announce":             "http://example.com/scrape",
		"http://example.com/x/announce":           "http://example.com/x/scrape",
		"http://example.com/announce.php":         "http://example.com/scrape.php",
		"http://example.com/a":                    "",
		"http://example.com/announce?x2%0644":     "http://example.com/scrape?x2%0644",
		"http://example.com/announce?x=2/4":       "http://example.com/scrape?x=2/4",
		"http://example.com/x%064announce":        "",
		"http://example.com/a%2Fannounce":         "",
		"http://example.com/p%2Fq/announce?k=%20": "http://example.com/p%2Fq/scrape?k=%20",
	} {
		u, err := reach.ParseURL(announce, trackerSchemes...)
		if err != nil {
			t.Fatal(err)
		}
		got, err := scrapeURL(u)
		if want == "" && err == nil || want != "" && (err != nil || got.String() != want) {
			t.Errorf("%s: %v, %v, want %q", announce, got, err, want)
		}
	}
}

func TestScrapeReplies(t *testing.T) {
	hash := [20]byte([]byte("aaaaaaaaaaaaaaaaaaaa"))
	many := "d5:filesd" + strings.Repeat("20:bbbbbbbbbbbbbbbbbbbbd8:completei1ee", 5000) + "20:aaaaaaaaaaaaaaaaaaaad8:completei5eeee"
	for body, want := range map[string]string{
		"d5:filesd20:aaaaaaaaaaaaaaaaaaaad8:completei5e10:downloadedi50e10:incompletei10eeee": "5 10 50",
		"d5:filesd20:aaaaaaaaaaaaaaaaaaaad10:downloaded1:x8:completei-5e3:new1:yeee":          "0 0 0",
		many:                                    "5 0 0",
		"d5:filesdee":                           "unknown",
		"d14:failure reason7:go awaye":          "the tracker refused: go away",
		"d14:failure_reason7:go awaye":          "the tracker refused: go away",
		"de":                                    "the answer is not that of a tracker: no files in it",
		"<html>":                                "the answer is not that of a tracker: it is not a dictionary",
		"d5:filesi5ee":                          "the answer is not that of a tracker: files: it is not a dictionary",
		"d5:filesd20:aaaaaaaaaaaaaaaaaaaai7eee": "unknown",
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/scrape" || r.URL.Query().Get("info_hash") != string(hash[:]) || r.URL.Query().Get("key") != "1" {
				t.Errorf("asked %v", r.URL)
			}
			io.WriteString(w, body)
		}))
		swarms, err := Scraper{}.Scrape(t.Context(), server.URL+"/announce?key=1", hash)
		server.Close()
		got := "unknown"
		if s, ok := swarms[hash]; ok {
			got = strings.Join([]string{strconv.Itoa(s.Seeds), strconv.Itoa(s.Leeches), strconv.Itoa(s.Completed)}, " ")
		}
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%.60s: %q, want %q", body, got, want)
		}
	}
}

func TestScrapeIsBounded(t *testing.T) {
	silent := udpTracker(t, "udp4", "127.0.0.1:0", func(int, []byte) []byte { return nil })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := (Scraper{}).Scrape(ctx, silent, [20]byte{1}); err == nil || ctx.Err() == nil {
		t.Errorf("error %v", err)
	}
	for _, hashes := range [][][20]byte{nil, make([][20]byte, maxScrape+1)} {
		if _, err := (Scraper{}).Scrape(t.Context(), silent, hashes...); err == nil {
			t.Errorf("a scrape of %d torrents was tried", len(hashes))
		}
	}
}

func FuzzParseScrape(f *testing.F) {
	f.Add([]byte("d5:filesd20:aaaaaaaaaaaaaaaaaaaad8:completei5e10:downloadedi50e10:incompletei10eeee"))
	f.Add([]byte{0, 0, 0, 5, 0, 0, 0, 50, 0, 0, 0, 10})
	hash := [20]byte([]byte("aaaaaaaaaaaaaaaaaaaa"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, parse := range []func([]byte, [][20]byte) (map[[20]byte]Swarm, error){parseHTTPScrape, parseUDPScrape} {
			swarms, err := parse(b, [][20]byte{hash})
			if s := swarms[hash]; err == nil && (s.Seeds < 0 || s.Leeches < 0 || s.Completed < 0 || len(swarms) > 1) {
				t.Fatalf("%+v", swarms)
			}
		}
	})
}
