package meta

import (
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

const (
	btih = "urn:btih:" // BEP 9: a v1 infohash
	btmh = "urn:btmh:" // BEP 52: a multihash of a v2 infohash

	// sha256Multihash is the code and the length that a multihash of a SHA-256
	// starts with, in hexadecimal.
	sha256Multihash = "1220"

	// maxMagnet bounds a magnet link, in bytes.
	maxMagnet = 1 << 20

	// maxPeers bounds the x.pe peers that are kept of a magnet link.
	maxPeers = 256

	// maxSelect bounds the "so" list of a magnet link, in bytes.
	maxSelect = 64 << 10
)

// Magnet is a magnet link (BEP 9, BEP 53).
type Magnet struct {
	InfoHash   [20]byte
	InfoHashV2 *[32]byte // of hybrid torrents
	Name       string    // "dn": for show until the metadata is there; not a safe file name
	Trackers   []string  // "tr"
	Peers      []string  // "x.pe": host:port
	WebSeeds   []string  // "ws"
	Select     string    // "so": indices and ranges of files, for ParseSelection
	Sources    []string  // "xs", "as": URLs of the .torrent file
}

// ParseMagnet reads a magnet link. Parameters that cannot be understood are left
// out; a link without a v1 infohash is an error.
func ParseMagnet(s string) (*Magnet, error) {
	magnet, _, err := parseMagnet(s)
	return magnet, err
}

// parseMagnet returns warnings too, as Source has them.
func parseMagnet(s string) (*Magnet, []string, error) {
	if len(s) > maxMagnet {
		return nil, nil, fmt.Errorf("bad magnet link: it has %d bytes, more than the %d that are allowed", len(s), maxMagnet)
	}
	s = lineBreaks.Replace(strings.TrimSpace(s))
	if !looksLikeMagnet([]byte(s)) {
		return nil, nil, fmt.Errorf("not a magnet link: it does not start with %q", magnetScheme)
	}
	_, query, _ := strings.Cut(s, "?")
	values := queryValues(query)
	trackers := newURLSet(maxTrackers, trackerSchemes...)
	m := &Magnet{
		Trackers: trackers.add(values["tr"]),
		WebSeeds: webSeeds(values["ws"]),
		Sources:  webSeeds(append(values["xs"], values["as"]...)),
	}
	warnings, err := m.setInfoHashes(values["xt"])
	if err != nil {
		return nil, nil, fmt.Errorf("bad magnet link: %w", err)
	}
	if names := values["dn"]; len(names) > 0 {
		m.Name = strings.ReplaceAll(cleanText([]byte(names[0])), "\n", " ")
	}
	for _, peer := range values["x.pe"] {
		peer = strings.TrimSpace(peer)
		if isHostPort(peer) && len(m.Peers) < maxPeers {
			m.Peers = append(m.Peers, peer)
		}
	}
	if lists := values["so"]; len(lists) > 0 {
		if list := strings.TrimSpace(lists[0]); isIndexList(list) {
			m.Select = list
		}
	}
	return m, append(warnings, trackers.warnings("tracker")...), nil
}

// lineBreaks removes what mail programs and terminals put into a link that is longer than
// a line.
var lineBreaks = strings.NewReplacer("\r", "", "\n", "", "\t", "")

// queryValues splits a query into its values. Unlike url.ParseQuery it keeps
// what follows a semicolon or a broken escape: links are pasted from anywhere.
// Numbered keys (tr.1, tr.2) count as their base key.
func queryValues(query string) map[string][]string {
	values := make(map[string][]string)
	for pair := range strings.SplitSeq(query, "&") {
		key, value, _ := strings.Cut(strings.TrimPrefix(pair, "amp;"), "=")
		if unescaped, err := url.QueryUnescape(value); err == nil {
			value = unescaped
		}
		key = strings.ToLower(key)
		if base, number, found := strings.Cut(key, "."); found && isDigits(number) {
			key = base
		}
		switch key {
		case "xt", "dn", "tr", "ws", "xs", "as", "so", "x.pe":
			values[key] = append(values[key], value)
		}
	}
	return values
}

// setInfoHashes reads the exact topics. One that is broken is left out with a warning, if
// there is another.
func (m *Magnet) setInfoHashes(topics []string) (warnings []string, err error) {
	found := false
	var broken []error
	for _, topic := range topics {
		topic = strings.TrimSpace(topic)
		switch lower := strings.ToLower(topic); {
		case strings.HasPrefix(lower, btih):
			hash, err := parseInfoHash(strings.TrimSpace(topic[len(btih):]))
			if err != nil {
				broken = append(broken, err)
				continue
			}
			if found && hash != m.InfoHash {
				return nil, errors.New("it has two different infohashes")
			}
			m.InfoHash, found = hash, true
		case strings.HasPrefix(lower, btmh):
			hash, err := parseMultihash(strings.TrimSpace(lower[len(btmh):]))
			if err != nil {
				broken = append(broken, err)
				continue
			}
			m.InfoHashV2 = &hash
		}
	}
	switch {
	case found:
		for _, err := range broken[:min(len(broken), maxWarnings)] {
			warnings = append(warnings, err.Error()+"; it is left out")
		}
		return warnings, nil
	case m.InfoHashV2 != nil:
		return nil, ErrV2Only
	case len(broken) > 0:
		return nil, broken[0]
	}
	return nil, errors.New("it has no infohash (xt=urn:btih:...)")
}

// parseInfoHash reads a v1 infohash: 40 hexadecimal digits or 32 base32 ones.
func parseInfoHash(text string) (hash [20]byte, err error) {
	var raw []byte
	switch len(text) {
	case hex.EncodedLen(len(hash)):
		raw, err = hex.DecodeString(text)
	case base32.StdEncoding.EncodedLen(len(hash)):
		raw, err = base32.StdEncoding.DecodeString(strings.ToUpper(text))
	}
	if err != nil || len(raw) != len(hash) {
		return hash, fmt.Errorf("the infohash %s is neither 40 hexadecimal digits nor 32 base32 ones", quoteShort(text))
	}
	return [20]byte(raw), nil
}

// parseMultihash reads a v2 infohash: the multihash of a SHA-256 in hexadecimal.
func parseMultihash(text string) (hash [32]byte, err error) {
	digits, ok := strings.CutPrefix(text, sha256Multihash)
	raw, err := hex.DecodeString(digits)
	if !ok || err != nil || len(raw) != len(hash) {
		return hash, fmt.Errorf("the v2 infohash %s is not a SHA-256 multihash (%s and 64 hexadecimal digits)", quoteShort(text), sha256Multihash)
	}
	return [32]byte(raw), nil
}

// String is the magnet link. The infohashes come first and unescaped, and spaces
// are written as %20: older programs read nothing else.
func (m *Magnet) String() string {
	var b strings.Builder
	b.WriteString("magnet:?xt=" + btih + hex.EncodeToString(m.InfoHash[:]))
	if m.InfoHashV2 != nil {
		b.WriteString("&xt=" + btmh + sha256Multihash + hex.EncodeToString(m.InfoHashV2[:]))
	}
	add := func(key string, values ...string) {
		for _, value := range values {
			if value != "" {
				b.WriteString("&" + key + "=" + strings.ReplaceAll(url.QueryEscape(value), "+", "%20"))
			}
		}
	}
	add("dn", m.Name)
	add("tr", m.Trackers...)
	add("ws", m.WebSeeds...)
	add("xs", m.Sources...)
	// libtorrent reads these as they are, without undoing escapes.
	for _, peer := range m.Peers {
		b.WriteString("&x.pe=" + peer)
	}
	if m.Select != "" {
		b.WriteString("&so=" + m.Select)
	}
	return b.String()
}

// isIndexList tells whether text has only what BEP 53 allows: 0,2,4-6.
func isIndexList(text string) bool {
	return text != "" && len(text) <= maxSelect && strings.Trim(text, "0123456789,-") == ""
}

func isDigits(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}
