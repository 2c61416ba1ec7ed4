package webrtcwire

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

const (
	// MaxSDP bounds a description from outside, in bytes. Browsers' are 1 to 3 KB.
	MaxSDP = 64 << 10

	// maxRemoteCandidates bounds the addresses that a description can make us
	// send checks to; browsers list fewer than ten.
	maxRemoteCandidates = 32

	// maxMDNSNames bounds the names that a description can make us look up.
	maxMDNSNames = 4

	// maxSDPLines bounds the work of parsing.
	maxSDPLines = 512

	// minMessageSize is the smallest a=max-message-size that we will work with;
	// less would mean a packet of overhead for every few bytes.
	minMessageSize = 1200

	// maxICECredential bounds ice-ufrag and ice-pwd (RFC 8839 section 5.4).
	maxICECredential = 256
)

// ErrBadSDP is wrapped by every error about a description from the other side.
var ErrBadSDP = errors.New("bad session description")

// remoteDescription is a peer's description after inspection.
type remoteDescription struct {
	sdp   string           // without mDNS names and without TCP candidates
	mdns  []mdnsName       // candidates whose address must be looked up first
	types []string         // candidate types seen, for diagnostics
	addrs []netip.AddrPort // addresses of its candidates
}

// mdnsName is a host candidate that hides its address behind a name.
type mdnsName struct {
	name      string   // <uuid>.local
	candidate []string // the fields of the a=candidate line
}

// inspect checks what pion would trust: the size, that there is one section and
// it is a data channel, and how many candidates it lists. Every field from
// outside that makes us do something has a bound here.
func inspect(sdp string) (remoteDescription, error) {
	var remote remoteDescription
	if len(sdp) > MaxSDP {
		return remote, fmt.Errorf("%w: %d bytes, at most %d are accepted", ErrBadSDP, len(sdp), MaxSDP)
	}
	lines := strings.Split(sdp, "\n")
	if len(lines) > maxSDPLines {
		return remote, fmt.Errorf("%w: %d lines, at most %d are accepted", ErrBadSDP, len(lines), maxSDPLines)
	}
	var kept strings.Builder
	seen := map[string]int{}
	for _, line := range lines {
		line = strings.TrimSuffix(line, "\r")
		if line == "" {
			continue
		}
		keep, err := remote.line(line, seen)
		if err != nil {
			return remote, fmt.Errorf("%w: %w", ErrBadSDP, err)
		}
		if keep {
			kept.WriteString(line)
			kept.WriteString("\r\n")
		}
	}
	for _, want := range []string{"m=application", "a=fingerprint", "a=ice-ufrag", "a=ice-pwd"} {
		if seen[want] == 0 {
			return remote, fmt.Errorf("%w: no %s line", ErrBadSDP, want)
		}
	}
	if seen["m="] != 1 {
		return remote, fmt.Errorf("%w: %d media sections, want the data channel alone", ErrBadSDP, seen["m="])
	}
	remote.sdp = kept.String()
	return remote, nil
}

// line inspects one line, counts it in seen, and says whether pion may have it.
func (r *remoteDescription) line(line string, seen map[string]int) (keep bool, err error) {
	key, value, _ := strings.Cut(line, ":")
	switch {
	case strings.HasPrefix(line, "m="):
		seen["m="]++
		if strings.HasPrefix(line, "m=application ") && strings.HasSuffix(line, " webrtc-datachannel") {
			seen["m=application"]++
		}
	case key == "a=ice-ufrag" || key == "a=ice-pwd":
		seen[key]++
		if len(value) > maxICECredential {
			return false, fmt.Errorf("%s of %d bytes", key, len(value))
		}
	case key == "a=fingerprint":
		seen[key]++
	case key == "a=max-message-size":
		size, err := strconv.ParseUint(value, 10, 63)
		if err != nil || size != 0 && size < minMessageSize {
			return false, fmt.Errorf("max-message-size %q, want 0 or at least %d", value, minMessageSize)
		}
	case key == "a=candidate":
		seen[key]++
		if seen[key] > maxRemoteCandidates {
			return false, nil
		}
		return r.candidate(value, seen), nil
	}
	return true, nil
}

// candidate inspects a candidate-attribute (RFC 8839 section 5.1):
// foundation component transport priority address port "typ" type ...
func (r *remoteDescription) candidate(value string, seen map[string]int) (keep bool) {
	fields := strings.Fields(value)
	if len(fields) < 8 || fields[6] != "typ" || !strings.EqualFold(fields[2], "udp") {
		return false
	}
	port, err := strconv.ParseUint(fields[5], 10, 16)
	if err != nil || port == 0 {
		return false // nothing can be sent there
	}
	address := fields[4]
	if strings.HasSuffix(address, ".local") {
		r.addType("mdns")
		if seen[".local"]++; seen[".local"] <= maxMDNSNames {
			r.mdns = append(r.mdns, mdnsName{name: address, candidate: fields})
		}
		return false
	}
	ip, err := netip.ParseAddr(address)
	if err != nil || ip.IsMulticast() || ip.IsUnspecified() || ip.Unmap().String() == "255.255.255.255" {
		return false // names other than mDNS are not looked up: RFC 8839 section 5.1
	}
	r.addType(fields[7])
	r.addrs = append(r.addrs, netip.AddrPortFrom(ip.Unmap(), uint16(port)))
	return true
}

func (r *remoteDescription) addType(kind string) {
	switch kind {
	case "host", "srflx", "prflx", "relay", "mdns":
		if !slices.Contains(r.types, kind) {
			r.types = append(r.types, kind)
		}
	}
}

// localTypes lists the candidate types of our own description.
func localTypes(sdp string) []string {
	var r remoteDescription
	for line := range strings.Lines(sdp) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "a=candidate:"); ok {
			r.candidate(value, map[string]int{})
		}
	}
	return r.types
}
