// Package wire is the peer wire protocol of BitTorrent over any net.Conn: TCP,
// uTP or a WebRTC data channel. It knows messages and bytes; it knows nothing of
// sockets, torrents on disk, or which piece to ask for next.
//
// Implemented: the v1 handshake and messages of BEP 3, the fast extension
// (BEP 6), the extension protocol (BEP 10), ut_metadata (BEP 9), ut_pex (BEP 11),
// lt_donthave (BEP 54) and ut_holepunch (BEP 55).
//
//	wire.WriteHandshake(conn, wire.Handshake{...})
//	theirs, err := wire.ReadHandshake(conn)
//	w := wire.NewWriter(conn, wire.WriterConfig{Source: disk})
//	go w.Run()
//	r := wire.NewReader(conn)
//	for err = r.Next(&m); err == nil; err = r.Next(&m) { ... }
//
// A block's bytes are read by [Reader.ReadBlock] from the connection straight
// into memory of the caller, and are written by [Writer] together with their
// headers in as few system calls as the queue allows.
package wire
