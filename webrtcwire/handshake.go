package webrtcwire

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/transport/v5/packetio"
)

// maxHandshake bounds the bytes of a handshake that wait for pion/dtls.
const maxHandshake = 64 << 10

// flights is the net.PacketConn over which pion/dtls makes the handshake, and repeats its last flight
// for a peer that has not got it. Everything else passes it by once records is set.
type flights struct {
	local, remote net.Addr
	in            *packetio.Buffer
	send          func([]byte)

	mu      sync.Mutex // held while records takes over
	records *records
}

var _ net.PacketConn = (*flights)(nil)

func newFlights(local, remote net.Addr, send func([]byte)) *flights {
	f := &flights{local: local, remote: remote, in: packetio.NewBuffer(), send: send}
	f.in.SetLimitSize(maxHandshake)
	return f
}

func (f *flights) ReadFrom(b []byte) (int, net.Addr, error) {
	n, _, err := f.in.Read(b, nil)
	return n, f.remote, err
}

func (f *flights) WriteTo(b []byte, _ net.Addr) (int, error) {
	f.mu.Lock()
	records := f.records
	f.mu.Unlock()
	sealed := b
	if records != nil {
		if sealed = records.reseal(b); sealed == nil {
			return 0, errRecord
		}
	}
	f.send(sealed)
	return len(b), nil
}

// take sets records, made of conn's state, from which on what pion sends is resealed.
func (f *flights) take(conn *dtls.Conn) (*records, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	made, err := newRecords(conn)
	if err == nil {
		f.records = made
	}
	return made, err
}

// deliver hands pion a datagram.
func (f *flights) deliver(b []byte) { _, _ = f.in.Write(b, nil) } // beyond its bound it is lost

func (f *flights) Close() error                       { return f.in.Close() }
func (f *flights) LocalAddr() net.Addr                { return f.local }
func (f *flights) SetReadDeadline(t time.Time) error  { return f.in.SetReadDeadline(t) }
func (f *flights) SetDeadline(t time.Time) error      { return f.in.SetReadDeadline(t) }
func (f *flights) SetWriteDeadline(t time.Time) error { return nil }

// shake makes the handshake: the peer's certificate must have one of the fingerprints.
func (t *Transport) shake(ctx context.Context, over *flights, client bool, ours *certificate, fingerprints []string) (*dtls.Conn, error) {
	shared := []dtls.Option{
		dtls.WithCertificates(ours.tls),
		dtls.WithCipherSuites(suites...),
		// Browsers ask for one, though there are no media to protect.
		dtls.WithSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80),
		dtls.WithExtendedMasterSecret(dtls.RequestExtendedMasterSecret),
		dtls.WithInsecureSkipVerify(true), // the fingerprint says who it is
		dtls.WithLoggerFactory(pionLog{logger: t.config.Logger}),
		dtls.WithVerifyPeerCertificate(func(raw [][]byte, _ [][]*x509.Certificate) error {
			if len(raw) == 0 {
				return errFingerprint
			}
			return matches(raw[0], fingerprints)
		}),
	}
	var conn *dtls.Conn
	var err error
	if client {
		var options []dtls.ClientOption
		for _, option := range shared {
			options = append(options, option)
		}
		conn, err = dtls.ClientWithOptions(over, over.remote, options...)
	} else {
		options := []dtls.ServerOption{
			dtls.WithClientAuth(dtls.RequireAnyClientCert),
			dtls.WithInsecureSkipVerifyHello(true), // ICE has checked the address: one round trip less
		}
		for _, option := range shared {
			options = append(options, option)
		}
		conn, err = dtls.ServerWithOptions(over, over.remote, options...)
	}
	if err != nil {
		return nil, err
	}
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}
