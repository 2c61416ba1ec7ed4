package transport

import (
	"encoding/binary"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// groControl has room for the control message that UDP_GRO adds.
const groControl = 64

// enableGRO asks for generic receive offload (udp(7), Linux 5.0): packets of one
// size and one sender come together, with one system call. That it cannot be had is
// no error.
func enableGRO(conn *net.UDPConn) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_GRO, 1)
	})
}

// readSegments reads packets of one sender; all but the last have size bytes.
func readSegments(conn *net.UDPConn, b, oob []byte) (n, size int, from netip.AddrPort, err error) {
	n, oobn, _, from, err := conn.ReadMsgUDPAddrPort(b, oob)
	return n, segmentSize(oob[:oobn], n), from, err
}

// segmentSize finds the packets' size in the control messages; n if they say none.
func segmentSize(oob []byte, n int) int {
	for len(oob) >= unix.CmsgLen(0) {
		header, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return n
		}
		if header.Level == unix.IPPROTO_UDP && header.Type == unix.UDP_GRO && len(data) >= 2 {
			// The kernel writes an int; packets are shorter than 64 KiB.
			if size := int(binary.NativeEndian.Uint16(data)); size > 0 {
				return size
			}
		}
		oob = rest
	}
	return n
}
