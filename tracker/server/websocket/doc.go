// Package websocket is the front end of a tracker for WebTorrent peers: browsers and
// others that announce over a WebSocket and have it relay their WebRTC offers and
// answers. It speaks the JSON protocol of bittorrent-tracker, for which there is no BEP,
// and knows nothing of WebRTC: descriptions are passed on byte for byte.
//
//	sockets := socket.New(socket.Config{})
//	front := websocket.New(websocket.Config{Swarms: swarms, Sockets: sockets})
//	// in an http.Handler, for a request that socket.IsUpgrade:
//	front.Accept(w, r, remote)
//	sockets.Close()
//
// Where the protocol leaves things open, it
//
//   - says action and info_hash in every error, as webtorrent.js drops a socket with an
//     error that lacks them;
//   - takes only "left": 0 for a seed, not null;
//   - has one peer id for each torrent of a socket, and one socket for each peer id of a
//     torrent;
//   - passes an answer on only to an offer that was given to that peer (see package table);
//   - takes all torrents of a socket out of their swarms when it closes.
//
// # Whose a peer id is
//
// Peer ids are no secret: each relayed offer has one. So a second socket that announces a
// peer id gets it only if one of these is so:
//
//   - its announce has the "trackerid" that the id's owner was told as "tracker id". It
//     is a keyed hash of infohash and peer id, and webtorrent.js keeps it when it connects
//     again. The entry moves at once;
//   - the first socket is dead. It is pinged when the second one announces, and is
//     dropped with its entries unless it says something within ProbeWait; meanwhile the
//     second one is refused, and a later announce of it succeeds.
//
// So a client whose connection broke without notice is back by its second announce, or by its
// first if it keeps the tracker id, and a stranger can neither take an entry away nor
// end it.
package websocket
