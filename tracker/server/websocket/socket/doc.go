// Package socket is the server's side of WebSocket connections (RFC 6455) for very many
// that are mostly silent: it holds tens of thousands of them at a price of about a
// kilobyte each. It knows messages and nothing of what is in them.
//
//	sockets := socket.New(socket.Config{})
//	// in an http.Handler:
//	sockets.Accept(w, r, remote, func(c *socket.Conn) socket.Handler { return echo{c} })
//	// a Handler's Message(batch, text) answers by c.Send(batch, reply)
//	sockets.Close()
//
// On Linux a TCP connection leaves net/http once it is upgraded, and waits in one of a
// few epoll instances, without a goroutine and without a buffer. Each instance has a
// goroutine that reads what has come, calls the handlers, and at the end of each round
// writes what they sent, once for each connection. Connections that are more than a
// socket (TLS), and all connections on other systems, have a goroutine each.
//
// Text and binary messages are the same to it; both must be UTF-8. There is no
// compression. What a connection can cost is bounded: the bytes of a message, of what waits to be
// written, of both for all connections together, messages per second (a connection that
// sends more is read later), the time for a message to become whole, for a ping to be
// answered and for a full pipe to move; connections in all and from one address.
package socket
