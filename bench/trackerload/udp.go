//go:build linux

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// BEP 15.
const (
	protocolID     = 0x41727101980
	actionConnect  = 0
	actionAnnounce = 1
	announceSize   = 98
	announceHeader = 20 // of the answer, before the peers
	eventNone      = 0
	eventStarted   = 2
)

const (
	batch = 32
	// inFlight is how many batches wait for their answers: as much as fits the receive
	// buffer that a socket has by default, so that nothing is lost.
	inFlight = 6
	// lostAfter is how long a batch may take. On loopback only a full buffer loses any.
	lostAfter = 500 * time.Millisecond
	// idAge is how long a connection id is used, of the minute that BEP 15 allows.
	idAge     = 45 * time.Second
	answerMax = 2048
	wanted    = 50 // peers
)

// mmsghdr is struct mmsghdr of sendmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
	_   [4]byte
}

// udpSource is one socket, from which the peers of one address announce.
type udpSource struct {
	number int
	fd     int
	id     uint64
	made   time.Time // of the id
	next   int       // peer that was not announced yet
	first  uint32    // transaction of the batch in flight
	count  int
	sent   time.Time
}

// udpLoad sends from all of them.
type udpLoad struct {
	o           options
	m           *meter
	random      *rand.Rand
	sources     []udpSource
	queue       []*udpSource // batches in flight, oldest first
	hashes      [][20]byte
	transaction uint32

	out, in         [batch]mmsghdr
	outIov, inIov   [batch]unix.Iovec
	outData, inData [batch][answerMax]byte
}

func runUDP(o options, m *meter) error {
	u := &udpLoad{o: o, m: m, random: newRandom(), sources: make([]udpSource, o.world.sources), hashes: make([][20]byte, o.world.swarms)}
	for i := range u.hashes {
		u.hashes[i] = infoHash(i)
	}
	for i := range batch {
		u.outIov[i].Base, u.inIov[i].Base = &u.outData[i][0], &u.inData[i][0]
		u.outIov[i].SetLen(announceSize)
		u.inIov[i].SetLen(answerMax)
		u.out[i].hdr.Iov, u.in[i].hdr.Iov = &u.outIov[i], &u.inIov[i]
		u.out[i].hdr.SetIovlen(1)
		u.in[i].hdr.SetIovlen(1)
	}
	defer u.close()
	for i := range u.sources {
		s := &u.sources[i]
		s.number, s.next = i, i
		var err error
		if s.fd, err = dialUDP(address(i), o.addr); err != nil {
			return err
		}
	}
	for turn := 0; ; turn++ {
		if done, err := u.step(&u.sources[turn%len(u.sources)]); done || err != nil {
			return err
		}
	}
}

func (u *udpLoad) close() {
	for _, s := range u.sources {
		if s.fd > 0 {
			unix.Close(s.fd)
		}
	}
}

func dialUDP(from netip.Addr, to netip.AddrPort) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	err = unix.Bind(fd, &unix.SockaddrInet4{Addr: from.As4()})
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())})
	}
	if err != nil {
		unix.Close(fd)
		return 0, fmt.Errorf("from %v to %v: %w", from, to, err)
	}
	return fd, nil
}

// step sends a batch from a source, and receives the oldest one if there are enough.
func (u *udpLoad) step(s *udpSource) (done bool, err error) {
	if len(u.queue) > 0 && (len(u.queue) == inFlight || s.count > 0) {
		if done, err := u.receive(); done || err != nil {
			return done, err
		}
	}
	if s.count > 0 {
		return false, nil // fewer sources than batches: its turn comes
	}
	if time.Since(s.made) > idAge {
		if err := u.connect(s); err != nil {
			return false, err
		}
	}
	n := u.prepare(s)
	if n == 0 { // filled
		if len(u.queue) == 0 {
			return true, nil
		}
		return u.receive()
	}
	for sent := 0; sent < n; {
		r, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&u.out[sent])), uintptr(n-sent), 0, 0, 0)
		if errno != 0 && errno != unix.EINTR && errno != unix.EAGAIN {
			return false, fmt.Errorf("sendmmsg: %w", errno)
		}
		if errno == 0 {
			sent += int(r)
		}
	}
	s.count, s.sent = n, time.Now()
	u.queue = append(u.queue, s)
	return false, nil
}

// connect gets a connection id.
func (u *udpLoad) connect(s *udpSource) error {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], protocolID)
	binary.BigEndian.PutUint32(b[8:], actionConnect)
	for start := time.Now(); time.Since(start) < patience; {
		u.transaction++
		binary.BigEndian.PutUint32(b[12:], u.transaction)
		if _, err := unix.Write(s.fd, b[:]); err != nil {
			return fmt.Errorf("connect: %w", err)
		}
		for sent := time.Now(); time.Since(sent) < lostAfter; {
			n, err := unix.Read(s.fd, u.inData[0][:])
			if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil {
				return fmt.Errorf("connect: %w", err)
			}
			r := u.inData[0][:n]
			if n == 16 && binary.BigEndian.Uint32(r) == actionConnect && binary.BigEndian.Uint32(r[4:]) == u.transaction {
				s.id, s.made = binary.BigEndian.Uint64(r[8:]), time.Now()
				return nil
			}
		}
	}
	return errSilent
}

// prepare writes a batch of announces. There are none when each peer should announce
// once only and has.
func (u *udpLoad) prepare(s *udpSource) int {
	w := u.o.world
	s.first = u.transaction + 1
	for i := range batch {
		n, event := s.next, uint32(eventStarted)
		if n >= w.total() {
			if u.o.fill {
				return i
			}
			n, event = w.pick(s.number, u.random), eventNone
		} else {
			s.next += w.sources
		}
		u.transaction++
		b := u.outData[i][:announceSize]
		binary.BigEndian.PutUint64(b, s.id)
		binary.BigEndian.PutUint32(b[8:], actionAnnounce)
		binary.BigEndian.PutUint32(b[12:], u.transaction)
		copy(b[16:], u.hashes[w.swarm(n)][:])
		copy(b[36:], "-BN0100-")
		binary.BigEndian.PutUint64(b[44:], uint64(n))
		binary.BigEndian.PutUint32(b[52:], 0x9e3779b9*uint32(n))
		left := uint64(1)
		if seeds(n) {
			left = 0
		}
		binary.BigEndian.PutUint64(b[64:], left)
		binary.BigEndian.PutUint32(b[80:], event)
		binary.BigEndian.PutUint32(b[92:], wanted)
		binary.BigEndian.PutUint16(b[96:], w.port(n))
	}
	return batch
}

// receive waits for the answers to the oldest batch.
func (u *udpLoad) receive() (done bool, err error) {
	s := u.queue[0]
	u.queue = append(u.queue[:0], u.queue[1:]...)
	defer func() { s.count = 0 }()
	for s.count > 0 {
		r, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&u.in[0])), batch, 0, 0, 0)
		if errno == unix.EAGAIN || errno == unix.EINTR {
			if wait := time.Now(); !u.readable(s) {
				u.m.Lost += s.count
				return u.m.look(time.Now())
			} else if u.m.counting {
				u.m.waited += time.Since(wait)
			}
			continue
		}
		if errno != 0 {
			return false, fmt.Errorf("recvmmsg: %w", errno)
		}
		for i := range r {
			if err := u.check(s, u.inData[i][:min(u.in[i].n, answerMax)]); err != nil {
				return false, err
			}
			if done, err := u.m.answer(); done || err != nil {
				return done, err
			}
		}
	}
	return false, nil
}

// readable waits, without sleeping, until there is something to read, for as long as a
// batch may take.
func (u *udpLoad) readable(s *udpSource) bool {
	fds := []unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLIN}}
	for time.Since(s.sent) < lostAfter {
		if n, err := unix.Poll(fds, 0); err == nil && n > 0 {
			return true
		}
	}
	return false
}

func (u *udpLoad) check(s *udpSource, b []byte) error {
	if len(b) < announceHeader || binary.BigEndian.Uint32(b) != actionAnnounce {
		return fmt.Errorf("an announce was answered with %q", b)
	}
	if binary.BigEndian.Uint32(b[4:])-s.first >= batch {
		return nil // of a batch that was given up
	}
	s.count--
	u.m.Peers += (len(b) - announceHeader) / 6
	return nil
}
