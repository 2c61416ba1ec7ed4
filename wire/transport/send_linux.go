package transport

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sendMessages is how many trains of packets one system call sends.
const sendMessages = 32

// segmentControl is the size of the control message that has a train cut into packets
// (udp(7), UDP_SEGMENT, Linux 4.18).
const segmentControl = unix.SizeofCmsghdr + 8

// sender sends batches by sendmmsg(2) and generic segmentation offload.
type sender struct {
	conn    *net.UDPConn
	raw     syscall.RawConn
	v6      bool        // the socket's addresses are those of IPv6
	refused atomic.Bool // the system has no UDP_SEGMENT
	states  sync.Pool
}

// sendState is what one send needs.
type sendState struct {
	messages [sendMessages]mmsghdr
	vectors  [sendMessages]unix.Iovec
	names    [sendMessages]unix.RawSockaddrInet6
	control  [sendMessages][segmentControl]byte
	trains   [sendMessages]int // packets of each
	n, sent  int               // messages
	errno    syscall.Errno
	write    func(fd uintptr) bool
}

func newSender(conn *net.UDPConn) *sender {
	s := &sender{conn: conn}
	s.raw, _ = conn.SyscallConn() // fails only without a connection
	_ = s.raw.Control(func(fd uintptr) {
		domain, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN)
		s.v6 = err == nil && domain == unix.AF_INET6
	})
	s.states.New = func() any {
		st := &sendState{}
		for i := range st.messages {
			st.messages[i].hdr.Name = (*byte)(unsafe.Pointer(&st.names[i]))
			st.messages[i].hdr.Iov = &st.vectors[i]
			st.messages[i].hdr.SetIovlen(1)
		}
		st.write = st.sendmmsg
		return st
	}
	return s
}

func (s *sender) send(b *Batch) (err error) {
	st := s.states.Get().(*sendState)
	defer s.states.Put(st)
	data, packets := b.data, b.packets
	for len(packets) > 0 && err == nil {
		n, size := s.fill(st, data, packets)
		if n == 0 { // an address that only package net knows how to write
			n, size = 1, packets[0].size
			err = sendPlain(s.conn, data, packets[:1])
		} else {
			err = s.flush(st, data, packets)
		}
		data, packets = data[size:], packets[n:]
	}
	return err
}

// fill prepares messages of the first packets, and returns how many packets those are.
func (s *sender) fill(st *sendState, data []byte, packets []outgoing) (n, size int) {
	st.n, st.sent = 0, 0
	for n < len(packets) && st.n < sendMessages {
		count, length := 1, packets[n].size
		if !s.refused.Load() {
			count, length = train(packets[n:])
		}
		m := &st.messages[st.n].hdr
		if !s.name(&st.names[st.n], m, packets[n].to) {
			return n, size
		}
		st.vectors[st.n].Base = unsafe.SliceData(data[size:])
		st.vectors[st.n].SetLen(length)
		m.Control = nil
		m.SetControllen(0)
		if count > 1 {
			m.Control = &st.control[st.n][0]
			m.SetControllen(len(appendSegments(st.control[st.n][:0], packets[n].size)))
		}
		st.trains[st.n] = count
		st.n++
		n, size = n+count, size+length
	}
	return n, size
}

// flush sends the messages. One that cannot go as a train goes packet by packet; what
// cannot be sent at all is lost.
func (s *sender) flush(st *sendState, data []byte, packets []outgoing) error {
	defer func() { // no packet is kept alive by the pool
		for i := range st.n {
			st.vectors[i].Base = nil
		}
	}()
	for st.sent < st.n {
		before := st.sent
		if err := s.raw.Write(st.write); err != nil {
			return err
		}
		for _, count := range st.trains[before:st.sent] {
			data, packets = skip(data, packets, count)
		}
		if st.errno == 0 || st.errno == unix.EINTR {
			continue
		}
		count := st.trains[st.sent]
		if count > 1 {
			if refusesSegments(st.errno) {
				s.refused.Store(true)
			}
			if err := sendPlain(s.conn, data, packets[:count]); err != nil {
				return err
			}
		}
		data, packets = skip(data, packets, count)
		st.sent++
	}
	return nil
}

func skip(data []byte, packets []outgoing, count int) ([]byte, []outgoing) {
	for _, p := range packets[:count] {
		data = data[p.size:]
	}
	return data, packets[count:]
}

func (st *sendState) sendmmsg(fd uintptr) bool {
	n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&st.messages[st.sent])), uintptr(st.n-st.sent), unix.MSG_DONTWAIT, 0, 0)
	st.errno = errno
	if errno != 0 {
		return errno != unix.EAGAIN
	}
	st.sent += int(n)
	return true
}

// name writes a socket address as the kernel reads it; false: it has a zone, whose name
// package net would have to look up, or is not of the socket's family.
func (s *sender) name(name *unix.RawSockaddrInet6, m *unix.Msghdr, to netip.AddrPort) bool {
	addr := to.Addr()
	if addr.Zone() != "" || !addr.IsValid() {
		return false
	}
	raw := (*[unix.SizeofSockaddrInet6]byte)(unsafe.Pointer(name))
	*raw = [unix.SizeofSockaddrInet6]byte{}
	binary.BigEndian.PutUint16(raw[2:], to.Port())
	if s.v6 {
		name.Family = unix.AF_INET6
		name.Addr = addr.As16() // IPv4 in its mapped form
		m.Namelen = unix.SizeofSockaddrInet6
		return true
	}
	if addr = addr.Unmap(); !addr.Is4() {
		return false
	}
	name.Family = unix.AF_INET
	v4 := addr.As4()
	copy(raw[4:], v4[:])
	m.Namelen = unix.SizeofSockaddrInet4
	return true
}

// segments sends b as packets of size bytes; refused: they are to be sent one by one, and err says why
// they are too large for the path.
func (s *sender) segments(b []byte, size int, to netip.AddrPort) (n int, refused bool, err error) {
	if s.refused.Load() {
		return 0, true, nil
	}
	var control [segmentControl]byte
	n, _, err = s.conn.WriteMsgUDPAddrPort(b, appendSegments(control[:0], size), to)
	switch {
	case refusesSegments(err):
		s.refused.Store(true)
		return 0, true, nil
	case errors.Is(err, unix.EINVAL):
		// Before Linux 6.14 segments that are larger than the path takes. By themselves they go in fragments.
		return 0, true, unix.EMSGSIZE
	}
	return n, false, err
}

// appendSegments appends, to a control message's memory, the one that has a message cut into
// packets of size bytes.
func appendSegments(control []byte, size int) []byte {
	control = control[:unix.CmsgSpace(2)]
	header := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
	header.Level = unix.IPPROTO_UDP
	header.Type = unix.UDP_SEGMENT
	header.SetLen(unix.CmsgLen(2))
	binary.NativeEndian.PutUint16(control[unix.CmsgLen(0):], uint16(size))
	return control
}

// refusesSegments reports whether err means that the kernel or the network card
// cannot do this, rather than that this send failed. EINVAL is either: an address to
// which nothing can be sent gives it, too.
func refusesSegments(err error) bool {
	return errors.Is(err, unix.EIO) || errors.Is(err, unix.ENOPROTOOPT) || errors.Is(err, unix.EOPNOTSUPP)
}
