package server

import (
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"
)

// BenchmarkUDPAnnounce answers announces of peers of ten in each of a thousand swarms,
// without a network.
func BenchmarkUDPAnnounce(b *testing.B) {
	s, err := New(Config{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	from := netip.MustParseAddrPort("192.0.2.1:4000")
	var reply [UDPReply]byte
	s.HandlePacket(nil, connectPacket(), from, reply[:])
	conn := binary.BigEndian.Uint64(reply[8:])
	packets := make([][]byte, 10_000)
	for i := range packets {
		h := hash(byte(i % 251))
		h[19] = byte(i % 1000)
		h[18] = byte(i % 1000 >> 8)
		packets[i] = announcePacket(conn, h, id(byte(i)), uint64(i%2), 0, 50, uint16(i/1000+1))
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		s.HandlePacket(nil, packets[i%len(packets)], from, reply[:])
		i++
	}
}

// oneRequest is a connection that has the same request again and again.
type oneRequest struct {
	net.Conn // only its addresses are asked for
	request  []byte
	left     int
}

func (o *oneRequest) Read(b []byte) (int, error) {
	if o.left == 0 {
		return 0, io.EOF
	}
	o.left--
	return copy(b, o.request), nil
}
func (o *oneRequest) Write(b []byte) (int, error) { return len(b), nil }
func (o *oneRequest) SetDeadline(time.Time) error { return nil }
func (o *oneRequest) Close() error                { return nil }
func (o *oneRequest) RemoteAddr() net.Addr        { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9} }

// BenchmarkHTTPAnnounce answers announces in one connection, without a network.
func BenchmarkHTTPAnnounce(b *testing.B) {
	s, err := New(Config{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	request := []byte("GET " + announceURL("", hash(1), id(1), "&port=1&uploaded=0&downloaded=0&left=10&compact=1&event=started") +
		" HTTP/1.1\r\nHost: tracker.example.org\r\nUser-Agent: causeway\r\nConnection: keep-alive\r\n\r\n")
	b.ReportAllocs()
	s.serveConn(s.admit(&oneRequest{request: request, left: b.N}), &handedOver{})
}

// BenchmarkHTTPLoopback compares the server's own loop with package net/http, with what
// the kernel and a client take that writes a request and waits for the reply.
func BenchmarkHTTPLoopback(b *testing.B) {
	request := []byte("GET " + announceURL("", hash(1), id(1), "&port=1&uploaded=0&downloaded=0&left=10&compact=1&event=started") +
		" HTTP/1.1\r\nHost: tracker.example.org\r\nUser-Agent: causeway\r\n\r\n")
	for _, how := range []string{"loop", "nethttp"} {
		b.Run(how, func(b *testing.B) {
			s := start(b, Config{})
			addr := s.tcp
			if how == "nethttp" {
				ln, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					b.Fatal(err)
				}
				srv := &http.Server{Handler: s.Server}
				defer srv.Close()
				go srv.Serve(ln)
				addr = ln.Addr().String()
			}
			c := dial(b, addr)
			in := make([]byte, 4096)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Write(request); err != nil {
					b.Fatal(err)
				}
				if _, err := c.Read(in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
