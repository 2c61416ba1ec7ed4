package discovery

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

const (
	// maxLSDMessage is the longest announce that BEP 14 allows.
	maxLSDMessage = 1400
	lsdFirstLine  = "BT-SEARCH * HTTP/1.1"
)

// lsdAnnounce is the one message of BEP 14.
type lsdAnnounce struct {
	host       string // the multicast group, as host:port
	port       int
	infoHashes [][20]byte
	cookie     string // empty when missing
}

func (a lsdAnnounce) encode() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\r\nHost: %s\r\nPort: %d\r\n", lsdFirstLine, a.host, a.port)
	for _, h := range a.infoHashes {
		fmt.Fprintf(&b, "Infohash: %s\r\n", hex.EncodeToString(h[:]))
	}
	if a.cookie != "" {
		fmt.Fprintf(&b, "cookie: %s\r\n", a.cookie)
	}
	b.WriteString("\r\n\r\n")
	return []byte(b.String())
}

// parseLSDAnnounce reads an announce. Infohashes that are not 40 hexadecimal digits,
// and headers that BEP 14 does not have, are passed over.
func parseLSDAnnounce(b []byte) (a lsdAnnounce, err error) {
	if len(b) > maxLSDMessage {
		return a, fmt.Errorf("longer than %d bytes", maxLSDMessage)
	}
	first, rest, _ := strings.Cut(string(b), "\r\n")
	if !strings.EqualFold(first, lsdFirstLine) {
		return a, errors.New("not a BT-SEARCH")
	}
	for line := range strings.SplitSeq(rest, "\r\n") {
		name, text, _ := strings.Cut(line, ":")
		text = strings.TrimSpace(text)
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "host":
			a.host = text
		case "port":
			port, err := strconv.ParseUint(text, 10, 16)
			if err != nil || port == 0 {
				return a, fmt.Errorf("port %q", text)
			}
			a.port = int(port)
		case "infohash":
			var h [20]byte
			if n, err := hex.Decode(h[:], []byte(text[:min(len(text), 40)])); err == nil && n == 20 && len(text) == 40 {
				a.infoHashes = append(a.infoHashes, h)
			}
		case "cookie":
			a.cookie = text
		}
	}
	if a.port == 0 || len(a.infoHashes) == 0 {
		return a, errors.New("without a port or an infohash")
	}
	return a, nil
}
