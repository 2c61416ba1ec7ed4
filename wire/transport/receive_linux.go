package transport

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// groControl has room for the control message that UDP_GRO adds.
const groControl = 64

// drains says that one wake-up reads all the packets that wait.
const drains = true

// receiver reads all the datagrams that wait in a socket with one wake-up.
type receiver struct {
	raw     syscall.RawConn
	buffers [1][]byte
	control []byte
}

func newReceiver(conn *net.UDPConn) *receiver {
	raw, _ := conn.SyscallConn() // fails only without a connection
	// Generic receive offload (udp(7), Linux 5.0): packets of one size and one sender come
	// together. That it cannot be had is no error.
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_GRO, 1)
	})
	return &receiver{raw: raw, buffers: [1][]byte{make([]byte, maxDatagram)}, control: make([]byte, groControl)}
}

// receive waits for a packet and hands over all that have come, up to
// about maxDrain of them. It returns their number.
func (r *receiver) receive(deliver func([]byte, netip.AddrPort)) (packets int, err error) {
	var failed error
	err = r.raw.Read(func(fd uintptr) (done bool) {
		for packets < maxDrain {
			n, controlSize, _, from, err := unix.RecvmsgBuffers(int(fd), r.buffers[:], r.control, unix.MSG_DONTWAIT)
			switch {
			case errors.Is(err, unix.EAGAIN):
				return packets > 0
			case errors.Is(err, unix.EINTR):
				continue
			case err != nil:
				failed = err
				return true
			}
			data, size := r.buffers[0][:n], segmentSize(r.control[:controlSize], n)
			for addr := addrPort(from); ; data = data[size:] {
				deliver(data[:min(size, len(data))], addr)
				packets++
				if len(data) <= size {
					break
				}
			}
		}
		return true
	})
	return packets, errors.Join(err, failed)
}

func addrPort(from unix.Sockaddr) netip.AddrPort {
	switch from := from.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(from.Addr), uint16(from.Port))
	case *unix.SockaddrInet6:
		addr := netip.AddrFrom16(from.Addr).Unmap()
		// The number of a zone is as good as its name, which would have to be looked up.
		if from.ZoneId != 0 {
			addr = addr.WithZone(strconv.FormatUint(uint64(from.ZoneId), 10))
		}
		return netip.AddrPortFrom(addr, uint16(from.Port))
	}
	return netip.AddrPort{}
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
