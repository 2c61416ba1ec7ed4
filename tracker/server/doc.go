// Package server is a BitTorrent tracker: HTTP and UDP announces and scrapes, with
// WebSocket signalling beside them, on one table of swarms (package table).
//
//	s, err := server.New(server.Config{})
//	defer s.Close()
//	go s.ServePacket(udpConn)         // BEP 15
//	http.ListenAndServe(":8000", s)   // or s.Serve(listener), which is faster
//
// Server is an http.Handler: every path that ends in /announce or /scrape,
// /stats, /stats.json, /metrics and /healthz. What WebSocket upgrades and /peerjs
// get is handed in by Config. Swarms is what front ends of other packages reach the
// swarms through, with the access lists before them.
//
// It implements BEP 3, 7, 15, 21, 23, 24, 31, 41 and 48.
//
// Whatever comes from outside is hostile. A UDP reply before the sender has proved
// its address is never larger than what it answers. Connections, requests and
// headers are bounded, by host and in all; a host that meets a bound is logged once.
package server
