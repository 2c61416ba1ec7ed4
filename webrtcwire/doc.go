// Package webrtcwire is the browser transport: it turns an offer and an answer,
// carried by somebody else, into a WebRTC data channel that behaves as a
// net.Conn, so that the peer wire protocol runs over it unchanged.
//
// It does no signalling (see tracker/ws), knows nothing of torrents, and carries
// neither audio nor video: packets that look like RTP are dropped.
//
//	t, err := webrtcwire.New(webrtcwire.Config{PacketConns: []net.PacketConn{udp}})
//	offer, err := t.Offer(ctx)            // offer.SDP goes to the other side
//	conn, err := offer.Accept(ctx, sdp)   // its answer comes back: a net.Conn
//
//	answer, err := t.Answer(ctx, sdp)     // or we are the one who is offered
//	conn, err := answer.Wait(ctx)         // after answer.SDP was sent back
//
// All peers share one UDP socket, one certificate and one list of local
// addresses. Descriptions carry all their candidates (no trickle), since the
// trackers of WebTorrent relay exactly one message each way. What pion would do
// once per connection is done here once per process: asking STUN servers for our
// address, an allocation at each TURN server (relay.go, of which an agent gets its
// share by a server of our own: front.go), and resolving the mDNS names behind which
// browsers hide theirs.
//
// Of pion, the ICE agent finds the path, and DTLS makes the handshake. Then its keys are taken
// (records.go), and packets go past it: a DTLS record that the mux has read is decrypted where it
// lies, handled by webrtcwire/sctp, and acknowledged by the same goroutine; what is written is cut
// into packets in one buffer, encrypted there, and sent with one system call, by a relay, too. The
// agent goes on with its checks, which end a path that is dead; and pion/dtls repeats its last flight
// for a peer that has lost it.
//
// Implements: ICE (RFC 8445), STUN (RFC 8489) and the handshake of DTLS 1.2 (RFC 6347) by pion;
// DTLS records under AES-GCM (RFC 6347 section 4.1, RFC 5288), descriptions of data channels
// (RFC 8829, RFC 8841, RFC 8842, RFC 8122), mDNS candidates
// (draft-ietf-mmusic-mdns-ice-candidates) here; TURN (RFC 8656) in webrtcwire/turnclient; SCTP over DTLS (RFC 8261) and data channels
// (RFC 8831, RFC 8832) in webrtcwire/sctp.
package webrtcwire
