// Package utp is the Micro Transport Protocol of BitTorrent (BEP 29): connections like those of TCP
// over a UDP socket that others share, which give way to everything else on the path.
//
//	s := utp.New(packets, utp.Config{})          // packets: a share of the one UDP socket
//	conn, err := s.DialContext(ctx, addr)        // a net.Conn
//	conn, err := s.Accept()                      // s is a net.Listener
//
// It is none of: a UDP socket, a dialler that races TCP, encryption (BEP 8). Those are in
// package transport.
//
// # How it runs
//
// A packet is handled to its end where it is read: Deliver takes it apart under the lock of its connection, and
// puts data into the connection's receive buffer; Flush, once for all packets that were read
// together, finds losses, sends what acknowledgements have made room for, sends one acknowledgement, and wakes
// who reads or writes. Write copies into a ring, and sends from there, many packets of one size
// with one system call where the socket can ([Segmenter]). One goroutine a socket keeps all
// timers (timers.go). Nothing is allocated for a packet.
//
// # What is where
//
//   - packet.go: the format of BEP 29, selective acknowledgements, extensions.
//   - socket.go, dial.go, accept.go: the table of connections; SYN, RESET, and what strangers send.
//   - conn.go: the life of a connection, and the net.Conn.
//   - receive.go: data, their order, the window, acknowledgements.
//   - send.go: windows, pacing, batches; ack.go: what acknowledgements say.
//   - recovery.go: RACK-TLP (RFC 8985) and the retransmission timeout (RFC 6298).
//   - ledbat.go, drain.go, delay.go: congestion control, see below.
//   - mtu.go: path MTU discovery (RFC 4821, 8899).
//
// # Congestion control
//
// It is LEDBAT (RFC 6817): the one-way delay over its least of ten minutes is how long packets queue, and the
// window is held where that is a target. Where it departs from it:
//
//   - The target is 100 ms at 64 KB/s and 25 ms at 12.5 MB/s and above (ledbat.go), which is what makes flows
//     equally fast, keeps queues short, and gives way to TCP before that has to fill the queue.
//   - Above the target the window falls by a part, once in a round trip, and below it grows by a packet, as in LEDBAT++
//     (draft-irtf-iccrg-ledbat-plus-plus); only where next to nothing queues it grows by a sixteenth.
//   - It begins with slow start, which ends when a queue begins, and every ten seconds the queue is let run empty
//     for a round trip, so that who came late learns how long the path is (drain.go).
//   - A lost packet is sent again, and has no other consequence as long as few are lost and nothing
//     queues. Else the window falls to what the path is known to hold, the rate of delivery times the
//     round trip; to less than that only if a tenth is lost.
//   - Sending is paced, in bursts of a millisecond.
//
// # Path MTU
//
// Packets begin with 1232 bytes, which pass everywhere. The sequence numbers of uTP count packets, so one
// that is lost cannot be cut; therefore a larger size is tried by a packet of data that
// extensions without meaning make longer, and which goes again without them. Larger packets than
// Ethernet's are used only with peers that say so, by an extension of our own, within a machine or a
// local network: libtorrent's and libutp's buffers have room for no more.
//
// When a path gets narrower and the system knows it, it cuts what is under way (ip(7), IP_MTU_DISCOVER). When
// nobody says so it is a black hole, and found by its losses: of large packets three times in a row, with none of
// their size coming through (mtu.go). Then new packets have 1232 bytes, in IPv4 548 if those are lost, too, and
// larger ones are tried again after a minute. What is under way goes again as it is, for others to cut
// ([Fragmenter]), as libtorrent and libutp do. That is:
//
//   - In IPv4 a router, as DF is not set. Linux sets it on no packets that go many with one system call, either, as
//     long as they are more than an interface's MTU together; these are cut from the beginning, and say nothing of
//     the path.
//   - In IPv6 this system, into fragments of 1280 bytes. As Linux cuts only what the interface does not take, these
//     packets are made a little longer than that for an MTU of 1500. With a larger MTU, to a peer that takes
//     no larger packets, there is no way, and the connection ends after deadAfter.
//
// A single packet that has been lost three times goes like that as well, whatever became of others.
//
// # Other implementations
//
// Where BEP 29 is vague this does as libtorrent and libutp do, which are what is out there: the answer to a SYN
// has the number that the first packet of data will have; a RESET bears the number of the connection of the packet
// that it answers; the first extension of a packet is below 3, or libutp takes it for another version.
//
// # Hostile peers
//
// A SYN gets one reply that is no longer than it, and leaves nothing behind (accept.go). Resets,
// acknowledgements and data must fit what is under way. All that a peer can make grow is
// bounded: connections, by address and in all; the receive buffer, by 256 KiB, which only fast readers
// make larger, up to 4 MiB and 64 MiB for all; packets that come early, by twice that, with all the memory that
// they take.
package utp
