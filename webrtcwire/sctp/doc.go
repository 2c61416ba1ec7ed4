// Package sctp is an SCTP association for data channels, over DTLS records that somebody else
// carries: what WebRTC needs of the protocol, and a sender that is as fast at a distance as the path.
//
//	a := sctp.New(sctp.Config{Outlet: outlet, Client: true, Opened: take})
//	a.Receive(packet); a.Flush()    // for each packet; Flush once after a batch
//	c, err := a.Open("label")       // a data channel, as a stream of bytes
//	sent, err := c.Write(message)   // false: wait for c.Writable()
//	n, err := c.Read(buffer)        // 0: wait for c.Readable()
//
// There are no goroutines: packets are handled on the goroutine that calls Receive, from the socket
// to the reader's queue, and what they call for is sent by the same, as is what a writer writes. One
// timer does the rest.
//
// # What is implemented
//
// RFC 9260 as RFC 8831 profiles it, of: the handshake, with both sides beginning (section 5.2.1);
// DATA, with fragmentation and bundling, reliable and in order (section 6); SACK with gap blocks and
// duplicates; HEARTBEAT, which is answered, and sent to try a packet's size; ABORT and SHUTDOWN, which both end the association at
// once, since a connection ends with its peer. Not of: multi-homing, address changes, restarts
// (an INIT with another tag is ignored), authentication, ERROR reports. Paths are checked by ICE.
//
//	RFC 8832  DCEP: OPEN is sent and answered; data follow without waiting for the answer (section 6)
//	RFC 6525  requests of the peer to reset streams, which close a channel; we make none
//	RFC 3758  FORWARD-TSN of the peer; we send none
//	RFC 9653  zero checksums, in both directions where the peer says that it takes them
//	RFC 7053  the I bit on the last chunk that there is to send
//	RFC 8899  path MTU discovery (section 6.2), with the PAD chunk of RFC 4820
//	RFC 8985  RACK-TLP, on TSNs and gap blocks, in place of RFC 9260's fast retransmit (section 7.2.4)
//
// Messages are not kept together: a channel is a stream of bytes, and each chunk that is in order is
// handed over at once. Of unordered or unreliable channels that is not what their sender means, so
// [Channel.Reliable] tells them apart.
//
// # Receiving
//
// A SACK goes out with a Flush if two packets have come since the last, at once if there is a gap, a
// duplicate or the I bit, and after ackDelay (20 ms) else. The window is a limit less what is held:
// receiveWindow (4 MiB), or half of what all of the process's associations together hold less than
// heldByAll (32 MiB), but at least leastWindow (256 KiB). The chunk that is missing next is taken even if
// what waits for it fills the window. A chunk can be up to maxAhead (4,096) TSNs ahead of that one, with
// up to maxBlocks (240) gaps between.
//
// # Sending: the model of the path
//
// In the manner of BBR (draft-ietf-ccwg-bbr) and not of Reno, a loss is no sign of congestion by
// itself. Two figures make the model (file model.go):
//
//	rate     the highest delivery rate of the last rateRounds (10) round trips. Each packet
//	         remembers how much had been delivered when it was sent; what was delivered from then
//	         to its acknowledgement, divided by the longer of the times to send and to
//	         acknowledge that, is a sample. One of a sender that had too little to send counts
//	         only if it is higher.
//	minRTT   the least round trip of the last rttMemory (5 s); or of twice that, while others come within
//	         a part of it, one in nearLeast (64): there is no queue to drain.
//
// Their product is what the path holds, the pipe. Packets are paced at gain x rate: a sixteenth
// (quantum) of a round trip's together, or of 1 ms or 4 ms; one that was held up may catch up a quarter of a
// round trip, 2 to 10 ms, but no more than maxCredit (40 packets). Up to windowGain (2) x pipe, and
// a little for the granularity of timers, may be under way. The gain follows the mode:
//
//	startup   2.77: the rate doubles each round trip, from initialWindow (32 packets), until it
//	          grew by less than a quarter in each of three, or a queue overflows
//	drain     0.35: until no more than the pipe is under way
//	probeBW   a cycle of 8 phases of a minRTT each: 1.25, to find more; 0.75, to drain what that
//	          has queued; and six of 1
//	probeRTT  if minRTT is older than that: half a pipe for probeTime (100 ms),
//	          so that the path shows itself without our queue; a connection that began beside
//	          others learns only so that part of its round trips is theirs
//
// A bottleneck's loss is heeded (type cut). A queue overflows where packets are lost in a round whose least
// round trip is longer than minRTT by over queued (0.3) of it, and by shortPath (3 ms); or where more than lossLimit
// (5 %) of a round's packets are lost, and at least leastLosses (8). Then no more may be under way than lossCut (0.7) of
// what was, or the pipe if that is more. That ceiling grows while it is reached: as the window of CUBIC does (RFC
// 9438 sections 4.2, 4.3 and 4.7; cubicC 0.4 packets/s^3), or, if that is faster, by roundGrowth packets (4) a round
// trip, but no more than secondGrowth (40) a second: windows that grow the faster the larger they are take a minute to
// become alike. In a round whose least round trip is not a tenth longer than minRTT, nor leastQueue (2 ms), nobody
// queues, and it grows by an eighth. So beside a TCP that fills the queue this is another such; and where nobody fills
// it, a loss is the path's own, and costs what is lost.
//
// On paths of less than shortPath (3 ms) scheduling is longer than the path, and the model says little:
// ShortWindow (80,000 bytes) may be under way even after a timeout, if no overflow has set a ceiling.
// That is what the socket of a Chromium takes. To a peer on the same machine ([Config].Near) the window is
// fixed, so that thirty share evenly, and nothing is paced: ShortWindow, or OwnWindow (200,000 bytes) to a
// program like this, but no more than ownByAll (1.6 MB) to all of those together if each has ShortWindow.
//
// # Sending: what is lost
//
// RACK (file ack.go): a packet is lost if one that was sent a reordering window later has arrived. The
// window is a quarter of minRTT, and grows with each duplicate that the peer reports, up to a smoothed
// round trip, until calmRecoveries (16) went without one; it is none while no reordering was seen and
// three packets have arrived since. So a lost repetition is repeated like everything else. What is lost
// is repeated before anything new.
//
// If nothing is acknowledged for two smoothed round trips (and probeDelay, 50 ms, if one packet alone is
// under way), the last packet is sent again, or a new one, to have the peer speak: a tail loss probe.
// After the timeout, srtt + 4 rttvar, leastRTO (200 ms) to maxRTO (3 s), doubled each time, all is taken
// for lost, and the window begins at leastCwnd (4,752 bytes). A peer that leaves us without an answer for deadAfter
// (40 s) is dead.
//
// # Sending: how large packets are
//
// At first packetSize (1,188 bytes): that passes everywhere. While there is something to send, a HEARTBEAT is made
// longer by a PAD chunk to what UDP payloads of 1,472, 1,452 and 1,372 bytes hold (file mtu.go): the first that is
// answered is the size from then on; one that is not answered in a timeout is tried sizeTries (3) times, and all that
// are larger again after raiseAfter (10 minutes). Where the outlet cannot send whole packets, as by a relay,
// nothing is tried. If large packets are lost holeTries (3) times in a row, a loss for all that were
// under way together, and none arrives meanwhile, or the system knows by itself, the path has become narrower:
// packets have packetSize again, and larger ones are tried after holeAfter (a minute). A chunk that does not fit goes
// in IP fragments then, in a packet that even the sender's interface cuts (largestPacket, 1,500 bytes), if its MTU is 1500;
// and so does what was lost holeTries times in larger packets, whatever became of others. On another path all
// begins anew.
//
// # Bounds
//
// What a peer can make us hold is bounded: the window, maxAhead and maxBlocks for what is received;
// maxUnacked chunks and the sender's own room for what is sent; maxOpened channels; maxDCEP bytes of an
// OPEN; maxControlChunksPerPacket answers to what comes in one packet; maxRenegs SACKs that take back what
// others acknowledged. SACKs of what was not sent end the association. Others of its mistakes get a line at
// debug level and are ignored.
package sctp
