package webrtcwire

import (
	"crypto"
	"fmt"
	"strconv"
	"strings"

	"github.com/pion/dtls/v3/pkg/crypto/fingerprint"
	"github.com/pion/sdp/v3"
)

const (
	// defaultMaxMessage is what a peer takes that does not say (RFC 8841 section 6.1).
	defaultMaxMessage = 64 << 10

	// sctpPort is the one SCTP port that there is: everybody says 5000 (RFC 8841 section 5).
	sctpPort = "5000"

	// sessionName is that of our descriptions, by which our other end knows that it is ours.
	sessionName = "Causeway"

	// maxMid bounds the name of the peer's section, which our answer repeats.
	maxMid = 64
)

// DTLS roles of a description (RFC 8842 section 5).
const (
	setupActive  = "active"
	setupPassive = "passive"
	setupBoth    = "actpass"
)

// parameters are what a peer's description says of the connection to be.
type parameters struct {
	ufrag, password string
	lite            bool
	own             bool     // the peer is a program like this
	fingerprints    []string // "sha-256 AA:BB:..."
	setup           string
	mid             string
	maxMessage      int
	candidates      []string // without "candidate:"
}

// parse reads a description that inspect has let pass.
func parse(text string) (p parameters, err error) {
	var description sdp.SessionDescription
	if err := description.UnmarshalString(text); err != nil {
		return p, fmt.Errorf("%w: %w", ErrBadSDP, err)
	}
	if len(description.MediaDescriptions) != 1 {
		return p, fmt.Errorf("%w: want one media section", ErrBadSDP)
	}
	p.maxMessage, p.own = defaultMaxMessage, description.SessionName == sessionName
	for _, attributes := range [][]sdp.Attribute{description.Attributes, description.MediaDescriptions[0].Attributes} {
		for _, attribute := range attributes {
			if err := p.attribute(attribute.Key, attribute.Value); err != nil {
				return p, fmt.Errorf("%w: %w", ErrBadSDP, err)
			}
		}
	}
	if len(p.fingerprints) == 0 || p.ufrag == "" || p.password == "" {
		return p, fmt.Errorf("%w: no fingerprint that can be checked, or no ICE credentials", ErrBadSDP)
	}
	return p, nil
}

func (p *parameters) attribute(key, value string) error {
	switch key {
	case "ice-ufrag":
		p.ufrag = value
	case "ice-pwd":
		p.password = value
	case "ice-lite":
		p.lite = true
	case "fingerprint":
		name, digest, _ := strings.Cut(value, " ")
		algorithm, err := fingerprint.HashFromString(name)
		if err != nil || algorithm < crypto.SHA256 || len(digest) != 3*algorithm.Size()-1 {
			return nil // another may be better
		}
		p.fingerprints = append(p.fingerprints, value)
	case "setup":
		p.setup = value
	case "mid":
		if len(value) > maxMid {
			return fmt.Errorf("mid of %d bytes", len(value))
		}
		p.mid = value
	case "max-message-size":
		n, err := strconv.ParseUint(value, 10, 63)
		if err != nil {
			return fmt.Errorf("max-message-size %q", value)
		}
		if p.maxMessage = int(min(n, maxReceive)); n == 0 {
			p.maxMessage = maxReceive // any
		}
	case "sctp-port":
		if value != sctpPort {
			return fmt.Errorf("SCTP port %s, want %s", value, sctpPort)
		}
	case "candidate":
		p.candidates = append(p.candidates, value)
	}
	return nil
}

// ours is our side of a description.
type ours struct {
	session         uint64 // a number of the description
	ufrag, password string
	fingerprint     string // of SHA-256
	setup, mid      string
	candidates      []string
	complete        bool // no more candidates come
}

func (o *ours) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "v=0\r\no=- %d 2 IN IP4 0.0.0.0\r\ns=%s\r\nt=0 0\r\n", o.session, sessionName)
	fmt.Fprintf(&b, "a=fingerprint:sha-256 %s\r\na=group:BUNDLE %s\r\n", o.fingerprint, o.mid)
	b.WriteString("m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n")
	fmt.Fprintf(&b, "a=setup:%s\r\na=mid:%s\r\na=sendrecv\r\na=sctp-port:%s\r\na=max-message-size:%d\r\n",
		o.setup, o.mid, sctpPort, maxReceive)
	fmt.Fprintf(&b, "a=ice-ufrag:%s\r\na=ice-pwd:%s\r\n", o.ufrag, o.password)
	for _, candidate := range o.candidates {
		fmt.Fprintf(&b, "a=candidate:%s\r\n", candidate)
	}
	if o.complete {
		b.WriteString("a=end-of-candidates\r\n")
	}
	return b.String()
}
