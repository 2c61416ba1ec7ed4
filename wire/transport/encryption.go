package transport

import "fmt"

// Encryption says when message stream encryption is used.
type Encryption int

const (
	// EncryptionPrefer dials with an encrypted handshake first and in plaintext
	// when that fails, and accepts both. The payload after the handshake is left
	// in plaintext when the other side allows it. It is the default.
	EncryptionPrefer Encryption = iota
	// EncryptionOff dials in plaintext and refuses encrypted handshakes.
	EncryptionOff
	// EncryptionRequire dials and accepts only connections whose payload is
	// encrypted with RC4.
	EncryptionRequire
)

// ParseEncryption reads "prefer", "off" or "require".
func ParseEncryption(s string) (Encryption, error) {
	for _, e := range []Encryption{EncryptionPrefer, EncryptionOff, EncryptionRequire} {
		if s == e.String() {
			return e, nil
		}
	}
	return 0, fmt.Errorf("encryption %q: want off, prefer or require", s)
}

func (e Encryption) String() string {
	switch e {
	case EncryptionPrefer:
		return "prefer"
	case EncryptionOff:
		return "off"
	case EncryptionRequire:
		return "require"
	}
	return fmt.Sprintf("Encryption(%d)", int(e))
}
