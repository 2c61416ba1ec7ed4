package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"time"

	"github.com/anacrolix/torrent/mse"
)

const (
	// handshakeTimeout bounds the encrypted handshake of both sides. The
	// exchange takes two round trips; this covers a slow phone.
	handshakeTimeout = 15 * time.Second

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
// by default, except under EncryptionRequire.
//
// It closes raw when it fails, and takes at most 15 s or until ctx ends.
func Accept(ctx context.Context, raw net.Conn, infoHashes iter.Seq[[]byte], e Encryption) (*Conn, error) {
	done := boundHandshake(ctx, raw)
	c, err := accept(raw, infoHashes, e)
	if ended := done(); ended != nil {
		err = ended
	}
	if err != nil {
		raw.Close()
		return nil, fmt.Errorf("accepting %v: %w", raw.RemoteAddr(), err)
	}
	return c, nil
}

func accept(raw net.Conn, infoHashes iter.Seq[[]byte], e Encryption) (*Conn, error) {
	first := make([]byte, len(protocolHeader))
	if _, err := io.ReadFull(raw, first); err != nil {
		return nil, fmt.Errorf("waiting for the first bytes: %w", err)
	}
	if string(first) == protocolHeader {
		if e == EncryptionRequire {
			return nil, ErrPlaintext
		}
		return &Conn{Conn: raw, early: first}, nil
	}
	if e == EncryptionOff {
		return nil, ErrEncrypted
	}

	hs := &handshakeStream{raw: raw, early: first, budget: maxHandshakeBytes}
	rw, method, err := mse.ReceiveHandshake(context.Background(), hs, mse.SecretKeyIter(infoHashes), func(offered mse.CryptoMethod) mse.CryptoMethod {
		return chooseMethod(offered, e)
	})
	if err != nil {
		return nil, fmt.Errorf("encrypted handshake: %w", err)
	}
	return hs.finish(rw, method)
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
	done := boundHandshake(ctx, raw)
	rw, method, err := mse.InitiateHandshakeContext(context.Background(), hs, infoHash[:], nil, offer)
	if ended := done(); ended != nil {
		err = ended
	}
	if err != nil {
		return nil, fmt.Errorf("encrypted handshake: %w", err)
	}
	return hs.finish(rw, method)
}

// boundHandshake makes reads and writes on raw fail after handshakeTimeout or
// when ctx ends; the function it returns lifts that and says if ctx has ended.
//
// The library is handed a background context instead of ctx because it
// answers a cancelled one by leaving goroutines behind in Read and Write.
func boundHandshake(ctx context.Context, raw net.Conn) (done func() error) {
	raw.SetDeadline(time.Now().Add(handshakeTimeout))
	stop := context.AfterFunc(ctx, func() { raw.SetDeadline(time.Unix(1, 0)) })
	return func() error {
		if !stop() {
			return context.Cause(ctx)
		}
		return raw.SetDeadline(time.Time{})
	}
}

// handshakeStream is what the library reads from and writes to. It counts the
// bytes of the handshake and, once that is over, passes everything through.
type handshakeStream struct {
	raw      net.Conn
	early    []byte
	budget   int  // bytes that the remote may still send
	draining bool // answer io.EOF, so that what the library holds can be read out
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
