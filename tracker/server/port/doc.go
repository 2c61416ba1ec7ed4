// Package port tells apart what shares the TCP port of a tracker. It knows no protocol further
// than by its first byte, and serves none.
//
//	split := port.Listen(listener, port.Config{TLS: tlsConfig, TURN: relay.ServeConn})
//	http.Serve(split, handler) // HTTP and WebSocket, with TLS and without
//
// Of the UDP port, see package relay.
package port
