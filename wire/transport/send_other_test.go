//go:build !linux

package transport

// refuseSegments does nothing: no other system cuts packets for us.
func refuseSegments(*UDPSocket) {}
