package meta

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"
)

const (
	// MaxTorrentSize bounds a .torrent file, in bytes.
	MaxTorrentSize = 64 << 20

	// maxTrackers, maxWebSeeds and maxNodes bound what is kept of a torrent's
	// or magnet link's lists; real ones have a few dozen entries. maxURL bounds
	// each entry, in bytes.
	maxTrackers = 512
	maxWebSeeds = 256
	maxNodes    = 256
	maxURL      = 2048
)

// trackerSchemes are the kinds of trackers there are: BEP 3, BEP 15 and
// WebTorrent's WebSocket ones.
var trackerSchemes = []string{"http", "https", "udp", "ws", "wss"}

// Torrent is a validated .torrent file.
type Torrent struct {
	Info      *Info
	Trackers  [][]string // in tiers (BEP 12); http, https, udp, ws and wss only
	WebSeeds  []string   // BEP 19; http and https only
	Nodes     []string   // host:port of DHT nodes (BEP 5)
	Comment   string
	CreatedBy string
	Created   time.Time // zero if unknown
}

// rawTorrent holds the values of a .torrent file, still bencoded; nil if absent.
type rawTorrent struct {
	info, announce, announceList, urlList, nodes []byte
	comment, commentUTF8, createdBy, created     []byte
}

func (r *rawTorrent) field(key []byte) *[]byte {
	switch string(key) {
	case "info":
		return &r.info
	case "announce":
		return &r.announce
	case "announce-list":
		return &r.announceList
	case "url-list":
		return &r.urlList
	case "nodes":
		return &r.nodes
	case "comment":
		return &r.comment
	case "comment.utf-8":
		return &r.commentUTF8
	case "created by":
		return &r.createdBy
	case "creation date":
		return &r.created
	}
	return nil
}

// ParseTorrent reads and validates a .torrent file. What does not decide which
// data the torrent is (comment, dates, malformed tracker lists) is left out when
// it cannot be understood. The result keeps no reference to b.
func ParseTorrent(b []byte) (*Torrent, error) {
	torrent, _, err := parseTorrent(b)
	return torrent, err
}

// parseTorrent returns warnings too, as Source has them.
func parseTorrent(b []byte) (*Torrent, []string, error) {
	if len(b) > MaxTorrentSize {
		return nil, nil, fmt.Errorf("not a usable torrent: it has more than the %d MiB that are allowed", MaxTorrentSize>>20)
	}
	// What follows the dictionary does not matter: editors, web servers and trackers
	// add line ends and more.
	var fields rawTorrent
	if _, err := collect(b, fields.field); err != nil {
		return nil, nil, fmt.Errorf("not a torrent: %w", err)
	}
	if fields.info == nil {
		return nil, nil, errors.New("not a torrent: it has no \"info\" dictionary")
	}
	info, err := ParseInfo(bytes.Clone(fields.info))
	if err != nil {
		return nil, nil, fmt.Errorf("not a usable torrent: %w", err)
	}
	torrent, warnings := fields.torrent(info)
	return torrent, warnings, nil
}

func (r *rawTorrent) torrent(info *Info) (*Torrent, []string) {
	tiers, warnings := trackerTiers(r.announceList, r.announce)
	t := &Torrent{
		Info:     info,
		Trackers: tiers,
		WebSeeds: webSeeds(stringList(r.urlList)),
		Nodes:    dhtNodes(r.nodes),
	}
	comment, ok := stringOf(r.commentUTF8)
	if !ok {
		comment, _ = stringOf(r.comment)
	}
	t.Comment = cleanText(comment)
	createdBy, _ := stringOf(r.createdBy)
	t.CreatedBy = cleanText(createdBy)
	const endOfYear9999 = 253402300799 // RFC 3339 ends there
	if seconds, ok := intOf(r.created); ok && seconds > 0 && seconds <= endOfYear9999 {
		t.Created = time.Unix(seconds, 0).UTC()
	}
	return t, warnings
}

// Magnet returns the magnet link of the torrent, with its trackers and web seeds.
func (t *Torrent) Magnet() *Magnet {
	return &Magnet{
		InfoHash:   t.Info.InfoHash,
		InfoHashV2: t.Info.InfoHashV2,
		Name:       t.Info.Name,
		Trackers:   slices.Concat(t.Trackers...),
		WebSeeds:   slices.Clone(t.WebSeeds),
	}
}

// trackerTiers reads announce-list, or announce if that says nothing (BEP 12).
// A tracker keeps its first place only; those that cannot be used are in the warnings.
func trackerTiers(announceList, announce []byte) (tiers [][]string, warnings []string) {
	kept := newURLSet(maxTrackers, trackerSchemes...)
	add := func(urls []string) {
		if tier := kept.add(urls); len(tier) > 0 {
			tiers = append(tiers, tier)
		}
	}
	if isList(announceList) {
		// Some programs write a plain list: each entry is a tier of its own.
		eachValue(announceList, func(tier []byte) { add(stringList(tier)) })
	}
	if len(tiers) == 0 {
		add(stringList(announce))
	}
	return tiers, kept.warnings("tracker")
}

func webSeeds(urls []string) []string {
	return newURLSet(maxWebSeeds, "http", "https").add(urls)
}

// stringList reads a list of strings, or one string. Items of other kinds are
// left out.
func stringList(value []byte) []string {
	if one, ok := stringOf(value); ok {
		return []string{string(one)}
	}
	var list []string
	if isList(value) {
		eachValue(value, func(item []byte) {
			if s, ok := stringOf(item); ok && len(list) < maxTrackers {
				list = append(list, string(s))
			}
		})
	}
	return list
}

// dhtNodes reads the list of [host, port] pairs of BEP 5.
func dhtNodes(value []byte) []string {
	var nodes []string
	if !isList(value) {
		return nil
	}
	eachValue(value, func(pair []byte) {
		var host []byte
		var port int64
		if isList(pair) {
			eachValue(pair, func(item []byte) {
				if s, ok := stringOf(item); ok {
					host = bytes.TrimSpace(s)
				} else if n, ok := intOf(item); ok {
					port = n
				}
			})
		}
		if node := net.JoinHostPort(string(host), strconv.FormatInt(port, 10)); isHostPort(node) && len(nodes) < maxNodes {
			nodes = append(nodes, node)
		}
	})
	return nodes
}

// isHostPort tells whether text is a host or IP address and a port from 1 to 65535.
func isHostPort(text string) bool {
	host, port, err := net.SplitHostPort(text)
	if err != nil || host == "" || len(host) > maxNameLength || cleanText([]byte(host)) != host {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}
