package sctp

import (
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	initSize  = 16    // of INIT's fixed part
	maxStream = 65535 // streams that we offer each way; a data channel takes one id

	// nonceSize is what makes a cookie ours.
	nonceSize = 16

	// maxCookie bounds a peer's cookie, which we echo: it must fit a packet. usrsctp's are some 400
	// bytes, dcsctp's and pion's 32.
	maxCookie = packetSize - headerSize - chunkHeader
)

// hello is what INIT and INIT-ACK say (RFC 9260 section 3.3.2).
type hello struct {
	tag          uint32
	rwnd         uint32
	out, in      uint16
	tsn          uint32
	zeroChecksum bool
	cookie       []byte // of an INIT-ACK
}

func (h *hello) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, h.tag)
	b = binary.BigEndian.AppendUint32(b, h.rwnd)
	b = binary.BigEndian.AppendUint16(b, h.out)
	b = binary.BigEndian.AppendUint16(b, h.in)
	b = binary.BigEndian.AppendUint32(b, h.tsn)
	if h.cookie != nil {
		b = appendParam(b, paramCookie, h.cookie)
	}
	b = appendParam(b, paramSupportedExtensions, []byte{chunkReconfig, chunkForwardTSN})
	b = appendParam(b, paramForwardTSNSupported, nil)
	return appendParam(b, paramZeroChecksum, []byte{0, 0, 0, zeroChecksumDTLS})
}

// parseHello reads the value of an INIT or INIT-ACK. Parameters that are not known are skipped,
// or end the parsing, as their first bit says (RFC 9260 section 3.2.1).
func parseHello(b []byte) (h hello, err error) {
	if len(b) < initSize {
		return h, errShort
	}
	h.tag = binary.BigEndian.Uint32(b)
	h.rwnd = binary.BigEndian.Uint32(b[4:])
	h.out = binary.BigEndian.Uint16(b[8:])
	h.in = binary.BigEndian.Uint16(b[10:])
	h.tsn = binary.BigEndian.Uint32(b[12:])
	if h.tag == 0 || h.out == 0 || h.in == 0 {
		return h, errors.New("no tag or no streams")
	}
	for b = b[initSize:]; len(b) > 0; {
		kind, value, rest, err := nextParam(b)
		if err != nil {
			return h, fmt.Errorf("parameters: %w", err)
		}
		b = rest
		switch kind {
		case paramCookie:
			if len(value) > maxCookie {
				return h, fmt.Errorf("a cookie of %d bytes", len(value))
			}
			h.cookie = value
		case paramZeroChecksum:
			h.zeroChecksum = len(value) == 4 && binary.BigEndian.Uint32(value) == zeroChecksumDTLS
		default:
			if kind&0x8000 == 0 && kind > 12 {
				return h, nil
			}
		}
	}
	return h, nil
}

// cookie packs what the peer's INIT said. DTLS has authenticated the peer, so it needs no seal:
// the nonce shows that this association made it.
func (a *Association) cookie(h hello) []byte {
	b := append(make([]byte, 0, nonceSize+initSize+1), a.nonce[:]...)
	b = binary.BigEndian.AppendUint32(b, h.tag)
	b = binary.BigEndian.AppendUint32(b, h.rwnd)
	b = binary.BigEndian.AppendUint16(b, h.out)
	b = binary.BigEndian.AppendUint16(b, h.in)
	b = binary.BigEndian.AppendUint32(b, h.tsn)
	var flags byte
	if h.zeroChecksum {
		flags = 1
	}
	return append(b, flags)
}

func (a *Association) openCookie(b []byte) (h hello, ok bool) {
	if len(b) != nonceSize+initSize+1 || [nonceSize]byte(b) != a.nonce {
		return h, false
	}
	flags := b[len(b)-1]
	h, err := parseHello(b[nonceSize : nonceSize+initSize])
	h.zeroChecksum = flags&1 != 0
	return h, err == nil
}

// handleInit answers an INIT. Both ends of a data channel send one at the same time
// (RFC 9260 section 5.2.1): the tag and the first TSN stay those of our own.
func (a *Association) handleInit(c chunk) {
	h, err := parseHello(c.value)
	if err != nil {
		a.debug("bad INIT", err)
		return
	}
	if a.state == established && h.tag != a.peerTag {
		a.debug("ignored", errRestart)
		return
	}
	ours := a.ours()
	ours.cookie = a.cookie(h)
	a.control(h.tag, appendChunk(nil, chunkInitAck, 0, ours.append(nil)))
}

var errRestart = errors.New("an INIT that would restart the association")

func (a *Association) ours() hello {
	return hello{tag: a.tag, rwnd: receiveWindow, out: maxStream, in: maxStream, tsn: a.out.first}
}

func (a *Association) handleInitAck(c chunk) {
	if a.state != cookieWait {
		return // RFC 9260 section 5.2.3
	}
	h, err := parseHello(c.value)
	if err != nil || h.cookie == nil {
		a.debug("bad INIT-ACK", err)
		return
	}
	a.adopt(h)
	a.state = cookieEchoed
	a.echo = appendChunk(nil, chunkCookieEcho, 0, h.cookie)
	a.tries, a.retryAt = 0, a.now()+int64(firstRetry)
	a.control(a.peerTag, a.echo)
}

// adopt takes over what the peer said of itself.
func (a *Association) adopt(h hello) {
	a.peerTag, a.zeroChecksum = h.tag, h.zeroChecksum
	a.out.rwnd = int(h.rwnd)
	a.in.begin(h.tsn)
	a.resets.begin(h.tsn)
}

func (a *Association) handleCookieEcho(c chunk) {
	h, ok := a.openCookie(c.value)
	if !ok {
		a.debug("ignored", errors.New("a cookie that is not ours"))
		return
	}
	switch {
	case a.state != established:
		if h.tag != a.peerTag {
			a.adopt(h)
		}
		a.establish()
	case h.tag != a.peerTag:
		a.debug("ignored", errRestart)
		return
	}
	a.control(a.peerTag, appendChunk(nil, chunkCookieAck, 0, nil))
}

func (a *Association) handleCookieAck() {
	if a.state == cookieEchoed {
		a.establish()
	}
}

func (a *Association) establish() {
	a.state, a.echo = established, nil
	a.retryAt = never
}
