package main_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// --listen ADDRESS is where everything goes out from, too: announces over HTTP and UDP,
// connections to peers, packets of the DHT, and what is fetched.
func TestListenBindsWhatGoesOut(t *testing.T) {
	t.Parallel()
	const own = "127.0.0.5"
	tor := single(t, 1<<20)
	cameFrom := make(chan [2]string, 1000)
	saw := func(what, address string) {
		if host, _, err := net.SplitHostPort(address); err == nil {
			select {
			case cameFrom <- [2]string{what, host}:
			default:
			}
		}
	}
	tracker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/content.torrent" {
			saw("a fetch", r.RemoteAddr)
			http.ServeFile(w, r, tor.Path)
			return
		}
		saw("HTTP tracker", r.RemoteAddr)
		_, _ = w.Write([]byte("d8:intervali1800e5:peers0:e"))
	}))
	defer tracker.Close()
	peer, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	go func() {
		for {
			conn, err := peer.Accept()
			if err != nil {
				return
			}
			saw("peer", conn.RemoteAddr().String())
			conn.Close()
		}
	}()
	listenUDP := func(what string) string {
		conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		go func() {
			b := make([]byte, 2048)
			for {
				_, from, err := conn.ReadFrom(b)
				if err != nil {
					return
				}
				saw(what, from.String())
			}
		}()
		return conn.LocalAddr().String()
	}
	start(t, "download", tracker.URL+"/content.torrent", "-o", t.TempDir(), "--listen", own, "--port", "0",
		"--peer", peer.Addr().String(), "--dht-bootstrap", listenUDP("DHT"),
		"--tracker", tracker.URL+"/announce", "--tracker", "udp://"+listenUDP("UDP tracker")+"/announce",
		"--no-lsd", "--no-web-trackers")
	missing := map[string]bool{"a fetch": true, "HTTP tracker": true, "peer": true, "DHT": true, "UDP tracker": true}
	for ctx := within(t, patience); len(missing) > 0; {
		select {
		case seen := <-cameFrom:
			if seen[1] != own {
				t.Errorf("%s: it came from %s", seen[0], seen[1])
			}
			delete(missing, seen[0])
		case <-ctx.Done():
			t.Fatalf("nothing came to: %v", missing)
		}
	}
}
