package server

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// udpBatch is how many packets one system call reads or writes.
const udpBatch = 64

// udpApart is what keeps the beginnings of packets from sharing few lines of the cache.
const udpApart = 64

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

// batch is the packets that one system call reads, and those that one writes. Nothing
// is allocated for a packet.
type batch struct {
	raw     syscall.RawConn
	in, out [udpBatch]mmsghdr
	inVec   [udpBatch]unix.Iovec
	outVec  [udpBatch]unix.Iovec
	names   [udpBatch]unix.RawSockaddrInet6 // large enough for IPv4
	packets [udpBatch][udpRead + udpApart]byte
	replies [udpBatch][UDPReply]byte
	n       int // packets read
	sent    int // of toSend
	toSend  int
	err     syscall.Errno
	doRead  func(uintptr) bool
	doWrite func(uintptr) bool
}

func (s *Server) servePackets(conn net.PacketConn, other func([]byte, netip.AddrPort)) error {
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		return s.servePlain(conn, other)
	}
	_ = udp.SetReadBuffer(udpBuffer)
	raw, err := udp.SyscallConn()
	if err != nil {
		return err
	}
	b := newBatch(raw)
	for {
		if b.n >= lingerFrom && b.n < udpBatch {
			linger()
		}
		if err := b.read(); err != nil {
			return err
		}
		b.toSend = 0
		for i := range b.n {
			p := b.packets[i][:b.in[i].n]
			from := addrPort(&b.names[i])
			if !IsPacket(p) {
				other(p, from)
				continue
			}
			if n := s.HandlePacket(udp, p, from, b.replies[b.toSend][:]); n > 0 {
				b.reply(i, n)
			}
		}
		if err := b.write(); err != nil {
			return err
		}
	}
}

const (
	// lingerFrom is how many packets that came together say that more are on their way:
	// rather than for each few of them, the loop wakes up for all that come within
	// lingerFor, a tenth of what a packet needs on most networks. To wait for a socket
	// costs about as much as to answer a packet.
	lingerFrom = 2
	lingerFor  = 100 * time.Microsecond
)

// linger lets packets come together. It is no time.Sleep, which costs what it is to save.
func linger() {
	t := unix.NsecToTimespec(int64(lingerFor))
	_ = unix.Nanosleep(&t, nil)
}

func newBatch(raw syscall.RawConn) *batch {
	b := &batch{raw: raw}
	for i := range b.in {
		b.inVec[i].Base = &b.packets[i][0]
		b.inVec[i].SetLen(udpRead)
		b.in[i].hdr.Name = (*byte)(unsafe.Pointer(&b.names[i]))
		b.in[i].hdr.Iov = &b.inVec[i]
		b.in[i].hdr.SetIovlen(1)
		b.outVec[i].Base = &b.replies[i][0]
		b.out[i].hdr.Iov = &b.outVec[i]
		b.out[i].hdr.SetIovlen(1)
	}
	b.doRead, b.doWrite = b.recvmmsg, b.sendmmsg
	return b
}

// reply has the next of replies go to where a packet came from.
func (b *batch) reply(packet, n int) {
	o := &b.out[b.toSend]
	b.outVec[b.toSend].SetLen(n)
	o.hdr.Name = b.in[packet].hdr.Name
	o.hdr.Namelen = b.in[packet].hdr.Namelen
	b.toSend++
}

// read waits for packets.
func (b *batch) read() error {
	for {
		if err := b.raw.Read(b.doRead); err != nil {
			return err
		}
		switch {
		case b.err == 0:
			return nil
		case refused(b.err) || b.err == unix.EINTR:
		default:
			return os.NewSyscallError("recvmmsg", b.err)
		}
	}
}

func (b *batch) recvmmsg(fd uintptr) bool {
	for i := range b.in {
		b.in[i].hdr.Namelen = unix.SizeofSockaddrInet6
	}
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&b.in[0])), udpBatch, unix.MSG_DONTWAIT, 0, 0)
	b.err = errno
	if errno != 0 {
		b.n = 0
		return errno != unix.EAGAIN
	}
	b.n = int(n)
	return true
}

// write sends the replies. Those that cannot be sent, since somebody's address cannot be
// reached, are dropped, as the network would.
func (b *batch) write() error {
	for b.sent = 0; b.sent < b.toSend; {
		if err := b.raw.Write(b.doWrite); err != nil {
			return err
		}
		if b.err != 0 && b.err != unix.EINTR {
			if errors.Is(b.err, net.ErrClosed) || b.err == unix.EBADF {
				return net.ErrClosed
			}
			b.sent++
		}
	}
	return nil
}

func (b *batch) sendmmsg(fd uintptr) bool {
	n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&b.out[b.sent])), uintptr(b.toSend-b.sent), unix.MSG_DONTWAIT, 0, 0)
	b.err = errno
	if errno != 0 {
		return errno != unix.EAGAIN
	}
	b.sent += int(n)
	return true
}

// addrPort reads a socket address as the kernel writes it.
func addrPort(name *unix.RawSockaddrInet6) netip.AddrPort {
	raw := (*[unix.SizeofSockaddrInet6]byte)(unsafe.Pointer(name))
	port := binary.BigEndian.Uint16(raw[2:])
	if name.Family == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(raw[4:8])), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(name.Addr).Unmap(), port)
}
