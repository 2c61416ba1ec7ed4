// Package transport makes and accepts the connections that the peer wire
// protocol runs over: TCP, with or without message stream encryption, and the
// one UDP port that uTP, the DHT, STUN, DTLS and TURN share.
//
// It knows nothing of peers, pieces or handshakes of the wire protocol; what it
// returns is a stream of bytes. uTP itself lives elsewhere, on a [Lent] socket.
//
//	ln, udp, err := transport.ListenBoth(transport.ListenOptions{Port: 6881, Fallback: true})
//	conn, err := transport.Dial(ctx, addr, infoHash, transport.DialOptions{})
//	raw, err := ln.Accept()
//	conn, err = transport.Accept(ctx, raw, infoHashes, transport.EncryptionPrefer)
//	dht := udp.Lend(transport.ClassDHT)
//
// A class of packets has any number of borrowers, who are asked in turn whether a packet is
// theirs: STUN that no ICE agent knows is somebody else's. Reading is batched (recvmmsg, GRO),
// and so is writing, for whoever uses [UDPSocket.WriteBatch] or [UDPSocket.Queue].
//
// Message stream encryption is not a BEP; it is described at
// https://wiki.vuze.com/w/Message_Stream_Encryption and hides the protocol from
// simple traffic shapers. It authenticates nobody. The sharing of a UDP port
// follows RFC 7983, widened by BEP 5 (DHT) and BEP 29 (uTP).
package transport
