package transport

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"expvar"
	"fmt"
	"io"
	"iter"
	"net"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/anacrolix/torrent/mse"
)

const (
	// handshakeTimeout bounds the encrypted handshake of both sides. The
	// exchange takes two round trips; this covers a slow phone.
	handshakeTimeout = 15 * time.Second

	// helloTimeout bounds the wait for what a dialing peer sends at once, before it
	// hears from us: 20 bytes of plaintext, or its key. One that drips is left by then.
	helloTimeout = 5 * time.Second

	// keyLen is the length of the public key that opens an encrypted connection.
	keyLen = 96

	// maxHandshakeBytes bounds what a remote may send before the payload starts:
	// a 96-byte key, two paddings of at most 512, the hashes, and the initial
	// payload, which is a 68-byte handshake and perhaps an extension handshake.
	maxHandshakeBytes = 16 << 10

	// protocolHeader opens every plaintext connection (BEP 3).
	protocolHeader = "\x13BitTorrent protocol"
)

var (
	// ErrEncrypted is returned for an encrypted connection under EncryptionOff.
	ErrEncrypted = errors.New("the peer does not speak plaintext and encryption is off")
	// ErrPlaintext is returned for a plaintext connection under EncryptionRequire.
	ErrPlaintext = errors.New("the peer does not encrypt and encryption is required")
)

// Accept finishes an incoming connection: it finds out from the first bytes
// whether the peer speaks plaintext or message stream encryption, and goes
// through the latter's handshake with whichever of infoHashes the peer means.
// Of what the peer offers, plaintext payload is preferred, as other clients do
// by default, except under EncryptionRequire. Or it is no peer: see [Conn.ICE].
//
// It closes raw when it fails, and takes at most 15 s or until ctx ends; at most 5 s of them for
// what the peer has to send first.
func Accept(ctx context.Context, raw net.Conn, infoHashes iter.Seq[[]byte], e Encryption) (*Conn, error) {
	bound := boundHandshake(ctx, raw, helloTimeout)
	c, err := accept(ctx, raw, bound, infoHashes, e)
	if ended := bound.lift(); ended != nil {
		err = ended
	}
	if err != nil {
		raw.Close()
		return nil, fmt.Errorf("accepting %v: %w", raw.RemoteAddr(), err)
	}
	return c, nil
}

func accept(ctx context.Context, raw net.Conn, bound *handshakeBound, infoHashes iter.Seq[[]byte], e Encryption) (*Conn, error) {
	early := make([]byte, len(protocolHeader), keyLen)
	if _, err := io.ReadFull(raw, early); err != nil {
		return nil, fmt.Errorf("waiting for the first bytes: %w", err)
	}
	if string(early) == protocolHeader {
		if e == EncryptionRequire {
			return nil, ErrPlaintext
		}
		return &Conn{Conn: raw, early: early}, nil
	}
	if isICE([len(protocolHeader)]byte(early)) {
		return &Conn{Conn: raw, early: early, ice: true}, nil
	}
	if e == EncryptionOff {
		return nil, ErrEncrypted
	}
	early = early[:keyLen]
	if _, err := io.ReadFull(raw, early[len(protocolHeader):]); err != nil {
		return nil, fmt.Errorf("waiting for the key: %w", err)
	}
	bound.extend(handshakeTimeout - helloTimeout)

	if err := exchanges.enter(ctx); err != nil {
		return nil, err
	}
	// The library computes with what is in early before it reads on.
	leave := sync.OnceFunc(exchanges.leave)
	defer leave()
	hs := &handshakeStream{raw: raw, early: early, waits: leave, budget: maxHandshakeBytes}
	rw, method, err := mse.ReceiveHandshake(context.Background(), hs, mse.SecretKeyIter(infoHashes), func(offered mse.CryptoMethod) mse.CryptoMethod {
		uncount(offered)
		return chooseMethod(offered, e)
	})
	if err != nil {
		return nil, fmt.Errorf("encrypted handshake: %w", err)
	}
	return hs.finish(rw, method)
}

// isICE tells a check of ICE over TCP from the random bytes that open an encrypted connection,
// of which one in 2^64 or so looks alike: RFC 4571's length, and then the header of a binding
// request (RFC 8489 section 5) that fills the rest of the frame.
func isICE(b [len(protocolHeader)]byte) bool {
	frame, request, length, cookie := b[:2], b[2:4], b[4:6], b[6:10]
	return binary.BigEndian.Uint16(request) == 0x0001 && binary.BigEndian.Uint32(cookie) == stunCookie &&
		int(binary.BigEndian.Uint16(frame)) == stunHeaderLen+int(binary.BigEndian.Uint16(length)) && length[1]&3 == 0
}

// exchanges bounds the Diffie-Hellman exchanges of accepting that are computed at a time to half of
// the processors, so that strangers, of whom each can have one for 96 random bytes, leave the
// other half to everybody else.
var exchanges = newGate(max(1, runtime.GOMAXPROCS(0)/2))

// gate lets a number of goroutines in at a time.
type gate chan struct{}

func newGate(n int) gate { return make(gate, n) }

var errBusy = errors.New("too many encrypted handshakes at once")

// enter waits for a place, as long as a handshake may take at most.
func (g gate) enter(ctx context.Context) error {
	timer := time.NewTimer(handshakeTimeout - helloTimeout)
	defer timer.Stop()
	select {
	case g <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return errBusy
	}
}

func (g gate) leave() { <-g }

// provided is where the library counts each crypto_provides that a stranger made up, for ever.
const provided = "mseCryptoProvides"

// uncount forgets a value that the library has just counted, unless it is one that honest
// peers send.
func uncount(offered mse.CryptoMethod) {
	if offered != 0 && offered&^mse.AllSupportedCrypto == 0 {
		return
	}
	if counts, ok := expvar.Get(provided).(*expvar.Map); ok {
		counts.Delete(strconv.FormatUint(uint64(offered), 16))
	}
}

// chooseMethod answers an offer; zero means that nothing in it will do, which
// makes the handshake fail.
func chooseMethod(offered mse.CryptoMethod, e Encryption) mse.CryptoMethod {
	if e != EncryptionRequire && offered&mse.CryptoMethodPlaintext != 0 {
		return mse.CryptoMethodPlaintext
	}
	return offered & mse.CryptoMethodRC4
}

// initiate goes through the dialing side of the handshake.
func initiate(ctx context.Context, raw net.Conn, infoHash [20]byte, e Encryption) (*Conn, error) {
	offer := mse.AllSupportedCrypto
	if e == EncryptionRequire {
		offer = mse.CryptoMethodRC4
	}
	hs := &handshakeStream{raw: raw, budget: maxHandshakeBytes}
	bound := boundHandshake(ctx, raw, handshakeTimeout)
	rw, method, err := mse.InitiateHandshakeContext(context.Background(), hs, infoHash[:], nil, offer)
	if ended := bound.lift(); ended != nil {
		err = ended
	}
	if err != nil {
		return nil, fmt.Errorf("encrypted handshake: %w", err)
	}
	return hs.finish(rw, method)
}

// handshakeBound is the time within which a handshake must be over.
type handshakeBound struct {
	raw  net.Conn
	ctx  context.Context
	stop func() bool

	mu    sync.Mutex
	ended bool // ctx has
}

// boundHandshake makes reads and writes on raw fail after the time given or when ctx
// ends, until lift is called.
//
// The library is handed a background context instead of ctx because it
// answers a cancelled one by leaving goroutines behind in Read and Write.
func boundHandshake(ctx context.Context, raw net.Conn, within time.Duration) *handshakeBound {
	b := &handshakeBound{raw: raw, ctx: ctx}
	b.extend(within)
	b.stop = context.AfterFunc(ctx, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.ended = true
		raw.SetDeadline(time.Now()) // not a time of the calendar, which may be wrong
	})
	return b
}

// extend sets the time anew, from now on.
func (b *handshakeBound) extend(within time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.ended {
		b.raw.SetDeadline(time.Now().Add(within))
	}
}

// lift ends the bound, and says if ctx has ended.
func (b *handshakeBound) lift() error {
	if !b.stop() {
		return context.Cause(b.ctx)
	}
	return b.raw.SetDeadline(time.Time{})
}

// handshakeStream is what the library reads from and writes to. It counts the
// bytes of the handshake and, once that is over, passes everything through.
type handshakeStream struct {
	raw      net.Conn
	early    []byte
	waits    func() // called before the first wait for the remote; may be nil
	budget   int    // bytes that the remote may still send
	draining bool   // answer io.EOF, so that what the library holds can be read out
	over     bool
}

var errHandshakeTooLong = fmt.Errorf("the peer sent more than %d bytes of handshake", maxHandshakeBytes)

func (s *handshakeStream) Read(b []byte) (int, error) {
	switch {
	case s.over:
		return s.raw.Read(b)
	case s.draining:
		return 0, io.EOF
	case len(s.early) > 0:
		n := copy(b, s.early)
		s.early = s.early[n:]
		s.budget -= n
		return n, nil
	case s.budget <= 0:
		return 0, errHandshakeTooLong
	}
	if s.waits != nil {
		s.waits()
	}
	n, err := s.raw.Read(b[:min(len(b), s.budget)])
	s.budget -= n
	return n, err
}

func (s *handshakeStream) Write(b []byte) (int, error) { return s.raw.Write(b) }

// finish turns the library's result into a Conn. With plaintext payload only the
// initial payload still comes from the library; it is copied out so that all
// later bytes are read from the socket directly.
func (s *handshakeStream) finish(rw io.ReadWriter, method mse.CryptoMethod) (*Conn, error) {
	switch method {
	case mse.CryptoMethodRC4:
		s.over = true
		return &Conn{Conn: s.raw, r: rw, w: rw, encrypted: true}, nil
	case mse.CryptoMethodPlaintext:
		s.draining = true
		var initial bytes.Buffer
		if _, err := initial.ReadFrom(rw); err != nil {
			return nil, fmt.Errorf("initial payload: %w", err)
		}
		return &Conn{Conn: s.raw, early: initial.Bytes(), encrypted: true}, nil
	}
	return nil, fmt.Errorf("encrypted handshake: unknown method %d", method)
}
