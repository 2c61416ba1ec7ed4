package server_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"

	"github.com/causeway-bt/causeway/tracker"
	"github.com/causeway-bt/causeway/tracker/server"
)

// A Server is an http.Handler like any other.
func ExampleNew() {
	s, err := server.New(server.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	mux := http.NewServeMux()
	mux.Handle("/tracker/", http.StripPrefix("/tracker", s))
	web := httptest.NewServer(mux)
	defer web.Close()

	hash := [20]byte([]byte("a torrent's infohash"))
	announce := web.URL + "/tracker/announce?info_hash=a+torrent%27s+infohash&peer_id=a+peer%27s+id+of+20+by&port=6881&left=0"
	res, err := http.Get(announce)
	if err != nil {
		fmt.Println(err)
		return
	}
	res.Body.Close()
	swarms, err := tracker.Scraper{}.Scrape(context.Background(), web.URL+"/tracker/announce", hash)
	fmt.Println(swarms[hash].Seeds, err)
	// Output: 1 <nil>
}

// It serves UDP (BEP 15) at any PacketConn, beside HTTP at a listener with the same table of
// swarms.
func ExampleServer_ServePacket() {
	s, err := server.New(server.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	go s.ServePacket(conn) // until conn or s is closed
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	go s.Serve(ln)

	hash := [20]byte([]byte("a torrent's infohash"))
	for _, url := range []string{"udp://" + conn.LocalAddr().String(), "http://" + ln.Addr().String() + "/announce"} {
		_, err := tracker.Scraper{}.Scrape(context.Background(), url, hash)
		fmt.Println(err)
	}
	// Output:
	// <nil>
	// <nil>
}
