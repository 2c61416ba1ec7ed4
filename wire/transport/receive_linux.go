package transport

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// receiveControl has room for the control messages of UDP_GRO and SO_TIMESTAMPNS.
	receiveControl = 128
	// receiveBuffers is how many datagrams, or with GRO trains of them, one system call
	// reads. Each has a buffer of maxDatagram, of which only what is written costs memory.
	receiveBuffers = 8
	// maxAge bounds how long ago the kernel may say that a packet came: more is a clock
	// that was set meanwhile.
	maxAge = time.Second
)

// drains says that one wake-up reads all the packets that wait.
const drains = true

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

// receiver reads all the datagrams that wait in a socket with one wake-up. Nothing is
// allocated for a packet.
type receiver struct {
	raw      syscall.RawConn
	messages [receiveBuffers]mmsghdr
	vectors  [receiveBuffers]unix.Iovec
	names    [receiveBuffers]unix.RawSockaddrInet6 // large enough for IPv4
	control  [receiveBuffers][receiveControl]byte
	buffers  [receiveBuffers][]byte
}

func newReceiver(conn *net.UDPConn) *receiver {
	raw, _ := conn.SyscallConn() // fails only without a connection
	// Generic receive offload (udp(7), Linux 5.0): packets of one size and one sender come
	// together. That it cannot be had is no error.
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_GRO, 1)
	})
	r := &receiver{raw: raw}
	for i := range r.messages {
		r.buffers[i] = make([]byte, maxDatagram)
		r.vectors[i].Base = &r.buffers[i][0]
		r.vectors[i].SetLen(maxDatagram)
		h := &r.messages[i].hdr
		h.Name = (*byte)(unsafe.Pointer(&r.names[i]))
		h.Iov = &r.vectors[i]
		h.SetIovlen(1)
		h.Control = &r.control[i][0]
	}
	return r
}

// stampArrivals has the kernel note when packets come (socket(7)). That it cannot is no
// error: they come when they are read, then.
func stampArrivals(conn *net.UDPConn) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	})
}

// receive waits for a packet and hands over all that have come, up to
// about maxDrain of them. It returns their number.
func (r *receiver) receive(deliver func([]byte, netip.AddrPort, time.Time)) (packets int, err error) {
	var failed error
	err = r.raw.Read(func(fd uintptr) (done bool) {
		for packets < maxDrain {
			n, errno := r.recvmmsg(fd)
			switch errno {
			case 0:
			case unix.EAGAIN:
				return packets > 0
			case unix.EINTR:
				continue
			default:
				failed = errno
				return true
			}
			now := time.Now()
			for i := range n {
				packets += r.handOver(i, now, deliver)
			}
			if n < receiveBuffers {
				return true // that was all: another call would only say so
			}
		}
		return true
	})
	return packets, errors.Join(err, failed)
}

func (r *receiver) recvmmsg(fd uintptr) (n int, errno syscall.Errno) {
	for i := range r.messages {
		r.messages[i].hdr.Namelen = unix.SizeofSockaddrInet6
		r.messages[i].hdr.SetControllen(receiveControl)
	}
	got, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&r.messages[0])), receiveBuffers, unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(got), 0
}

// handOver hands over the packets of one message, and returns their number.
func (r *receiver) handOver(i int, now time.Time, deliver func([]byte, netip.AddrPort, time.Time)) (packets int) {
	m := &r.messages[i]
	data := r.buffers[i][:m.n]
	size, received := readControl(r.control[i][:m.hdr.Controllen], len(data), now)
	from := addrPort(&r.names[i])
	for {
		deliver(data[:min(size, len(data))], from, received)
		packets++
		if len(data) <= size {
			return packets
		}
		data = data[size:]
	}
}

// addrPort reads a socket address as the kernel writes it.
func addrPort(name *unix.RawSockaddrInet6) netip.AddrPort {
	raw := (*[unix.SizeofSockaddrInet6]byte)(unsafe.Pointer(name))
	port := binary.BigEndian.Uint16(raw[2:])
	if name.Family == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(raw[4:8])), port)
	}
	addr := netip.AddrFrom16(name.Addr).Unmap()
	// The number of a zone is as good as its name, which would have to be looked up.
	if name.Scope_id != 0 {
		addr = addr.WithZone(strconv.FormatUint(uint64(name.Scope_id), 10))
	}
	return netip.AddrPortFrom(addr, port)
}

// readControl finds in the control messages the packets' size, n if they say none, and when
// they came, now if they do not say.
func readControl(oob []byte, n int, now time.Time) (size int, received time.Time) {
	size, received = n, now
	for len(oob) >= unix.CmsgLen(0) {
		header := (*unix.Cmsghdr)(unsafe.Pointer(&oob[0]))
		length := int(header.Len)
		if length < unix.CmsgLen(0) || length > len(oob) {
			break
		}
		data := oob[unix.CmsgLen(0):length]
		switch {
		case header.Level == unix.IPPROTO_UDP && header.Type == unix.UDP_GRO && len(data) >= 2:
			// The kernel writes an int; packets are shorter than 64 KiB.
			if s := int(binary.NativeEndian.Uint16(data)); s > 0 {
				size = s
			}
		case header.Level == unix.SOL_SOCKET && header.Type == unix.SCM_TIMESTAMPNS && len(data) >= int(unsafe.Sizeof(unix.Timespec{})):
			received = arrival(*(*unix.Timespec)(unsafe.Pointer(&data[0])), now)
		}
		next := unix.CmsgSpace(len(data))
		if next >= len(oob) {
			break
		}
		oob = oob[next:]
	}
	return size, received
}

// arrival puts a time stamp of the kernel, by the clock of the calendar, on the monotonic
// clock of now.
func arrival(stamp unix.Timespec, now time.Time) time.Time {
	age := time.Duration(now.UnixNano() - stamp.Nano())
	if age < 0 || age > maxAge {
		return now
	}
	return now.Add(-age)
}
