package tracker

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/tracker/internal/reach"
)

// announceTo makes one announce to a URL.
func announceTo(ctx context.Context, url string, cfg Config) (*response, error) {
	cfg.Stats = func() Stats { return Stats{Left: 1} }
	a := New(cfg)
	defer a.Close(ctx)
	return a.announce(ctx, tracked(url))
}

// tracked is a tracker that has not been announced to.
func tracked(raw string) *trackerState {
	u, err := reach.ParseURL(raw, trackerSchemes...)
	if err != nil {
		panic(err)
	}
	return &trackerState{name: raw, url: u, routes: map[family]*route{}}
}

func TestHostileHTTPTrackers(t *testing.T) {
	for _, c := range []struct {
		name    string
		handler http.HandlerFunc
		want    string // part of the error
	}{
		{"HTML", func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "<html>under construction</html>")
		}, "not that of a tracker"},
		{"nothing", func(w http.ResponseWriter, r *http.Request) {}, "not that of a tracker"},
		{"an empty dictionary", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "de") }, "neither peers"},
		{"an endless body", func(w http.ResponseWriter, r *http.Request) {
			for {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		}, "larger than"},
		{"a compressed bomb's size", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "99999999999")
			io.WriteString(w, "d")
		}, "in the middle of its answer"},
		{"deep nesting", func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "d5:peers"+strings.Repeat("l", maxBody-100))
		}, "ends too early"},
		{"a string that is not there", func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "d5:peers999999999999999999999:")
		}, "ends too early"},
		{"redirects for ever", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/again", http.StatusFound)
		}, "redirects"},
		{"a redirect to another protocol", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		}, "not http or https"},
		{"an HTTP error", func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "gone", http.StatusGone)
		}, "410 Gone"},
		{"an HTTP error with a reason", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, "d14:failure reason12:unregisterede")
		}, "unregistered"},
		{"a failure reason for a screen", func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "d14:failure reason1000:%se", strings.Repeat("\x1b[2J ", 200))
		}, "refused"},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := httptest.NewServer(c.handler)
			defer srv.Close()
			_, err := announceTo(t.Context(), srv.URL+"/announce", Config{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want one with %q", err, c.want)
			}
			if s := err.Error(); len(s) > 300 || strings.ContainsAny(s, "\x1b\n") || strings.Contains(s, "info_hash") {
				t.Errorf("an error that nobody wants to read: %q", s)
			}
		})
	}
}

func TestTrackerThatTrickles(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for {
			if _, err := io.WriteString(w, "d"); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}))
	defer srv.Close()
	ctx, cancel := context.WithTimeoutCause(t.Context(), 200*time.Millisecond, errSlow)
	defer cancel()
	if _, err := announceTo(ctx, srv.URL, Config{}); err == nil || !strings.Contains(err.Error(), errSlow.Error()) {
		t.Error(err)
	}
}

func TestURLsThatAreNoTracker(t *testing.T) {
	for url, want := range map[string]string{
		"":                         "not a URL",
		"tracker.example/announce": "not a URL",
		"http://[::1/announce":     "not a URL",
		"http://a/b\nhttp://c/d":   "not a URL",
		"gopher://a/announce":      "not supported",
		"http:///announce":         "no host",
		"http://:80/announce":      "no host",
		"http://a:99999/announce":  "port",
		"udp://127.0.0.1/announce": "needs a port",
	} {
		told := make(chan Status, 1)
		a := New(Config{Tiers: [][]string{{url}}, Stats: func() Stats { return Stats{} }, OnStatus: func(s Status) { told <- s }})
		if s := await(t, told); s.OK || s.URL != url || !strings.Contains(s.Message, want) {
			t.Errorf("%q: %+v, want %q", url, s, want)
		}
		a.Close(t.Context())
	}
}

func TestParseHTTPResponse(t *testing.T) {
	for _, c := range []struct {
		name, body string
		peers      []string
	}{
		{"compact", "d8:intervali60e5:peers12:\x01\x02\x03\x04\x1a\xe1\x05\x06\x07\x08\x00\x50e", []string{"1.2.3.4:6881", "5.6.7.8:80"}},
		{"compact, cut short", "d8:intervali60e5:peers9:\x01\x02\x03\x04\x1a\xe1\x05\x06\x07e", []string{"1.2.3.4:6881"}},
		{"IPv6", "d8:intervali60e6:peers618:\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x1a\xe1e", []string{"[2001:db8::1]:6881"}},
		{"verbose", "d8:intervali60e5:peersld2:ip7:1.2.3.47:peer id20:aaaaaaaaaaaaaaaaaaaa4:porti6881eed2:ip3:::14:porti1eeee", []string{"1.2.3.4:6881", "[::1]:1"}},
		{"port 0, no address, broadcast, multicast", "d8:intervali60e5:peers24:\x01\x02\x03\x04\x00\x00\x00\x00\x00\x00\x1a\xe1\xff\xff\xff\xff\x1a\xe1\xe0\x00\x00\x01\x1a\xe1e", nil},
		{"verbose rubbish", "d8:intervali60e5:peersli5ed2:ip4:host4:porti1eed2:ip7:1.2.3.44:porti-1eed2:ip7:1.2.3.44:porti65536eed2:ip7:1.2.3.44:port1:1eleee", nil},
		{"peers of the wrong type", "d8:intervali60e5:peersi7ee", nil},
		{"keys unsorted, double, many, and no strings", "d5:peers6:\x01\x02\x03\x04\x1a\xe15:peers0:i7e3:six" + strings.Repeat("1:x0:", 500) + "8:intervali60ee", []string{"1.2.3.4:6881"}},
		{"what is not needed, of any type", "d8:completele3:agei" + strings.Repeat("9", 99) + "e3:beti1.5e3:cat" + strings.Repeat("l", 5000) + strings.Repeat("e", 5000) +
			"10:incomplete1:x8:interval2:6014:failure reason0:15:warning messagei1e10:tracker idde12:min intervalle5:peers6:\x01\x02\x03\x04\x1a\xe1e", []string{"1.2.3.4:6881"}},
		{"trailing bytes", "d8:intervali60e5:peers6:\x01\x02\x03\x04\x1a\xe1e\r\n", []string{"1.2.3.4:6881"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := parseHTTPResponse([]byte(c.body))
			if err != nil {
				t.Fatal(err)
			}
			if got := addrStrings(r.peers); !slices.Equal(got, c.peers) {
				t.Errorf("peers %v, want %v", got, c.peers)
			}
		})
	}
}

func addrStrings(peers []netip.AddrPort) (s []string) {
	for _, p := range peers {
		s = append(s, p.String())
	}
	return s
}

func FuzzParseHTTPResponse(f *testing.F) {
	f.Add([]byte("d8:completei1e10:incompletei2e8:intervali1800e12:min intervali900e5:peers6:\x01\x02\x03\x04\x1a\xe1e"))
	f.Add([]byte("d8:intervali60e5:peersld2:ip7:1.2.3.47:peer id20:aaaaaaaaaaaaaaaaaaaa4:porti6881eeee"))
	f.Add([]byte("d14:failure reason9:forbidden15:warning message2:hie"))
	f.Add([]byte("d5:peersllllllllleeeeeeeee"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseHTTPResponse(b)
		if err != nil {
			return
		}
		if len(r.peers) > 2*maxPeers || r.seeds < 0 || r.leeches < 0 || len(r.warning) > 4*200 || len(r.trackerID) > maxTrackerID {
			t.Fatalf("out of bounds: %+v", r)
		}
		for _, p := range r.peers {
			if !p.IsValid() || p.Port() == 0 || p.Addr().Is4In6() {
				t.Fatalf("peer %v", p)
			}
		}
	})
}
