package webrtcwire

import (
	"encoding/binary"
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

// canSegment says whether this system may know UDP_SEGMENT (Linux 4.18).
const canSegment = true

// segmentControlSize has room for one control message of two bytes.
const segmentControlSize = unix.SizeofCmsghdr + 8

// segmentControl appends the control message that has a buffer cut into packets
// of size bytes (udp(7), UDP_SEGMENT).
func segmentControl(b []byte, size int) []byte {
	b = b[:unix.CmsgSpace(2)]
	header := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	header.Level = unix.IPPROTO_UDP
	header.Type = unix.UDP_SEGMENT
	header.SetLen(unix.CmsgLen(2))
	binary.NativeEndian.PutUint16(b[unix.CmsgLen(0):], uint16(size))
	return b
}

// refusesSegments reports whether err means that the kernel or the network card
// cannot do this, rather than that this send failed. EINVAL is either: an address to
// which nothing can be sent gives it, too.
func refusesSegments(err error) bool {
	return errors.Is(err, unix.EIO) || errors.Is(err, unix.ENOPROTOOPT) || errors.Is(err, unix.EOPNOTSUPP)
}
