package meta

import (
	"bytes"
	"compress/gzip"
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
)

// parseContent reads what a file or a web server has: a .torrent file, a magnet link or
// an infohash, gzipped or not. name is for errors, which are UsageErrors; local is whether
// it is a file of the user's.
func parseContent(b []byte, name string, local bool) (*Source, error) {
	b, err := unpack(b)
	if err != nil {
		return nil, usagef("%s: %w", name, err)
	}
	text := trimText(b)
	if looksLikeMagnet(text) {
		line, more, _ := bytes.Cut(text, []byte("\n"))
		source, err := loadMagnet(string(line))
		if err != nil {
			return nil, usagef("%s: %w", name, err)
		}
		if len(bytes.TrimSpace(more)) > 0 {
			source.Warnings = append(source.Warnings, name+" has more lines than one; only the magnet link on the first is used")
		}
		return source, nil
	}
	switch len(text) {
	case hex.EncodedLen(hashSize), base32.StdEncoding.EncodedLen(hashSize):
		if hash, err := parseInfoHash(string(text)); err == nil {
			return &Source{Magnet: &Magnet{InfoHash: hash}}, nil
		}
	}
	torrent, warnings, err := parseTorrent(b)
	if err != nil {
		return nil, &UsageError{notTorrent(name, b, local, err)}
	}
	return &Source{Torrent: torrent, Warnings: warnings}, nil
}

// unpack returns b, or what is in it if it is gzipped (RFC 1952): no more than a torrent
// may have, however small it was packed.
func unpack(b []byte) ([]byte, error) {
	if !bytes.HasPrefix(b, []byte{0x1f, 0x8b}) {
		return b, nil
	}
	zip, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("it looks gzipped, but cannot be unpacked: %w", err)
	}
	zip.Multistream(false) // what follows does not matter
	unpacked, err := io.ReadAll(io.LimitReader(zip, MaxTorrentSize+1))
	if err != nil {
		return nil, fmt.Errorf("it looks gzipped, but cannot be unpacked: %w", err)
	}
	if len(unpacked) > MaxTorrentSize {
		return nil, fmt.Errorf("unpacked, it has more than the %d bytes that a torrent may have", MaxTorrentSize)
	}
	return unpacked, nil
}

// trimText removes what editors put around text: blanks, line ends and a byte order mark.
func trimText(b []byte) []byte {
	return bytes.TrimSpace(bytes.TrimPrefix(bytes.TrimSpace(b), []byte("\xef\xbb\xbf")))
}

const magnetScheme = "magnet:"

func looksLikeMagnet(text []byte) bool {
	return len(text) >= len(magnetScheme) && strings.EqualFold(string(text[:len(magnetScheme)]), magnetScheme)
}

func looksLikeHTML(body []byte) bool {
	start := bytes.ToLower(trimText(body[:min(len(body), 512)]))
	for _, prefix := range []string{"<!doctype html", "<html", "<head", "<body", "<!--", "<?xml"} {
		if bytes.HasPrefix(start, []byte(prefix)) {
			return true
		}
	}
	return false
}
