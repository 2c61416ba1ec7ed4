// Package webrtcwire is the browser transport: it turns an offer and an answer,
// carried by somebody else, into a WebRTC data channel that behaves as a
// net.Conn, so that the peer wire protocol runs over it unchanged.
//
// It does no signalling (see tracker/ws), knows nothing of torrents, and carries
// neither audio nor video: no media engine, no interceptors, and packets that
// look like RTP are dropped before pion sees them.
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
// address, and resolving the mDNS names behind which browsers hide theirs.
//
// Implements, through github.com/pion/webrtc: ICE (RFC 8445), STUN (RFC 8489),
// TURN (RFC 8656), DTLS (RFC 9147 in its 1.2 form), SCTP over DTLS (RFC 8261,
// zero checksum RFC 9653), data channels (RFC 8831, RFC 8832), mDNS candidates
// (draft-ietf-mmusic-mdns-ice-candidates).
package webrtcwire
