// Package peerjs is the signalling of PeerJS (peerjs.com), as the npm packages peerjs 1.5
// (the client) and peer 1.0 (the server) have it: browsers meet by names, and a WebSocket
// carries their offers, answers and candidates. It knows nothing of WebRTC: payloads are
// passed on byte for byte.
//
//	sockets := socket.New(socket.Config{})
//	front := peerjs.New(peerjs.Config{Sockets: sockets})
//	front.Serve(w, r, remote)  // what is asked of /peerjs and below
//	front.Close()              // then sockets.Close()
//
// A page says new Peer(id, {host, port, path: "/", key: "peerjs"}). That asks for
//
//	GET /peerjs/id     a name that nobody has
//	GET /peerjs        the socket, with ?key=peerjs&id=NAME&token=SECRET
//
// and with path: "/peerjs" the same below it: /peerjs/peerjs/id and /peerjs/peerjs, both of
// which are answered too.
//
// A name belongs to the socket that came first with it, and to whoever comes with the same
// token as long as that socket is there; anybody else gets ID-TAKEN. A message to a
// name that nobody has waits for 5 s, and then its sender gets EXPIRE. How many messages wait,
// and how many bytes, is bounded: for a name, for a sender, and in all.
package peerjs
