package webrtcwire

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"fmt"
	"hash"
	"sync"

	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/crypto/prf"
)

// DTLS 1.2's records under an AES-GCM suite (RFC 6347 section 4.1, RFC 5288 section 3): a header, the
// explicit part of the nonce, for which epoch and sequence number are taken, ciphertext, and a tag.
const (
	recordHeader = 13
	recordHead   = recordHeader + 8
	recordTail   = 16

	// recordEpoch is that of a connection that is never renegotiated.
	recordEpoch = 1

	typeChangeCipherSpec = 20
	typeAlert            = 21
	typeHandshake        = 22
	typeApplication      = 23

	alertFatal       = 2
	alertCloseNotify = 0

	// replayWindow is how many records one may be late, in bits: 20 ms at 12.5 MB/s are 200.
	replayWindow = 1024
)

var (
	errRecord = errors.New("not a record of ours")
	errReplay = errors.New("a record that has come before, or comes late")
)

// suites are the suites that we negotiate: every WebRTC endpoint has the first (RFC 8827
// section 6.5).
var suites = []dtls.CipherSuiteID{
	dtls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, dtls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	dtls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, dtls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
}

// dtlsState is what is read of pion's exported state (dtls.State.MarshalBinary).
type dtlsState struct {
	HandshakeComplete         bool
	LocalEpoch, RemoteEpoch   uint16
	LocalRandom, RemoteRandom [32]byte
	CipherSuiteID             uint16
	MasterSecret              []byte
	SequenceNumber            uint64
	IsClient                  bool
}

// direction is one direction's key.
type direction struct {
	aead cipher.AEAD
	iv   [4]byte
}

func newDirection(key, iv []byte) (direction, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return direction{}, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return direction{}, err
	}
	return direction{aead: aead, iv: [4]byte(iv)}, nil
}

// records protects the records of a connection whose handshake pion/dtls has made: in place, and
// without its goroutine, queue and copies for each.
type records struct {
	out, in direction

	sendMu sync.Mutex
	next   uint64 // sequence number

	receiveMu sync.Mutex
	newest    uint64
	seen      [replayWindow / 64]uint64
}

// newRecords takes over after a handshake. pion may go on sending records, of its last flight: those
// are to pass through reseal.
func newRecords(conn *dtls.Conn) (*records, error) {
	exported, ok := conn.ConnectionState()
	if !ok {
		return nil, errors.New("DTLS has no state")
	}
	b, err := exported.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("DTLS state: %w", err)
	}
	var state dtlsState
	if err := gob.NewDecoder(bytes.NewReader(b)).Decode(&state); err != nil {
		return nil, fmt.Errorf("DTLS state: %w", err)
	}
	if !state.HandshakeComplete || state.LocalEpoch != recordEpoch || state.RemoteEpoch != recordEpoch {
		return nil, errors.New("DTLS: not after a handshake")
	}
	keySize, h := 16, func() hash.Hash { return sha256.New() }
	switch dtls.CipherSuiteID(state.CipherSuiteID) {
	case dtls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, dtls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256:
	case dtls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, dtls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384:
		keySize, h = 32, sha512.New384
	default:
		return nil, fmt.Errorf("DTLS: suite %#x was not offered", state.CipherSuiteID)
	}
	client, server := state.RemoteRandom, state.LocalRandom
	if state.IsClient {
		client, server = server, client
	}
	keys, err := prf.GenerateEncryptionKeys(state.MasterSecret, client[:], server[:], 0, keySize, 4, h)
	if err != nil {
		return nil, fmt.Errorf("DTLS keys: %w", err)
	}
	theirs, err := newDirection(keys.ClientWriteKey, keys.ClientWriteIV)
	if err != nil {
		return nil, err
	}
	ours, err := newDirection(keys.ServerWriteKey, keys.ServerWriteIV)
	if err != nil {
		return nil, err
	}
	if state.IsClient {
		ours, theirs = theirs, ours
	}
	return &records{out: ours, in: theirs, next: state.SequenceNumber}, nil
}

// seal makes a record of b, whose text is between recordHead and recordTail.
func (r *records) seal(kind byte, b []byte) {
	r.sendMu.Lock()
	number := r.next
	r.next++
	r.sendMu.Unlock()
	text := b[recordHead : len(b)-recordTail]
	b[0], b[1], b[2] = kind, 0xfe, 0xfd
	binary.BigEndian.PutUint64(b[3:], recordEpoch<<48|number)
	binary.BigEndian.PutUint16(b[11:], uint16(len(b)-recordHeader))
	copy(b[recordHeader:], b[3:11])
	nonce, extra := r.out.parts(b, len(text))
	r.out.aead.Seal(text[:0], nonce[:], text, extra[:])
}

// parts are the nonce and the additional data of a record.
func (d *direction) parts(record []byte, text int) (nonce [12]byte, extra [13]byte) {
	copy(nonce[:4], d.iv[:])
	copy(nonce[4:], record[recordHeader:recordHead])
	copy(extra[:8], record[3:11])
	copy(extra[8:11], record[:3])
	binary.BigEndian.PutUint16(extra[11:], uint16(text))
	return nonce, extra
}

// open decrypts a record in place.
func (d *direction) open(record []byte) ([]byte, error) {
	if len(record) < recordHead+recordTail {
		return nil, errRecord
	}
	nonce, extra := d.parts(record, len(record)-recordHead-recordTail)
	text := record[recordHead:]
	return d.aead.Open(text[:0], nonce[:], text, extra[:])
}

// cut cuts the first record off a datagram; nil: there is none.
func cutRecord(b []byte) (record, rest []byte) {
	if len(b) < recordHeader {
		return nil, nil
	}
	size := recordHeader + int(binary.BigEndian.Uint16(b[11:]))
	if size > len(b) {
		return nil, nil
	}
	return b[:size], b[size:]
}

// epoch is that of a record.
func epoch(record []byte) uint16 { return binary.BigEndian.Uint16(record[3:]) }

// open decrypts a record of the peer's in place, once.
func (r *records) open(record []byte) ([]byte, error) {
	number := binary.BigEndian.Uint64(record[3:]) & (1<<48 - 1)
	if !r.fresh(number, false) {
		return nil, errReplay
	}
	text, err := r.in.open(record)
	if err != nil {
		return nil, err
	}
	if !r.fresh(number, true) {
		return nil, errReplay
	}
	return text, nil
}

// fresh reports whether a record is new (RFC 6347 section 4.1.2.6), and notes it if it is authentic.
func (r *records) fresh(number uint64, authentic bool) bool {
	r.receiveMu.Lock()
	defer r.receiveMu.Unlock()
	if number+replayWindow-64 <= r.newest { // the newest's word is not full
		return false
	}
	word, bit := &r.seen[number/64%uint64(len(r.seen))], uint64(1)<<(number%64)
	if number <= r.newest && *word&bit != 0 {
		return false
	}
	if !authentic {
		return true
	}
	if number > r.newest {
		// Words between the newest and this one are of numbers long past.
		first, last := r.newest/64+1, number/64
		if last >= first+uint64(len(r.seen)) {
			first = last - uint64(len(r.seen)) + 1
		}
		for w := first; w <= last; w++ {
			r.seen[w%uint64(len(r.seen))] = 0
		}
		r.newest = number
	}
	*word |= bit
	return true
}

// reseal gives the records of a datagram of pion's, where they are encrypted, numbers that follow on
// ours: it counts for itself, and a number is used but once.
func (r *records) reseal(b []byte) []byte {
	b = bytes.Clone(b)
	for rest := b; ; {
		var record []byte
		if record, rest = cutRecord(rest); record == nil {
			return b
		}
		if epoch(record) != recordEpoch {
			continue
		}
		if _, err := r.out.open(record); err != nil {
			return nil
		}
		r.seal(record[0], record)
	}
}
