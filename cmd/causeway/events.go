package main

import (
	"bytes"
	"encoding/hex"

	"github.com/causeway-bt/causeway/client"
	"github.com/causeway-bt/causeway/client/meta"
)

// torrentEvent says what is in a torrent.
type torrentEvent struct {
	InfoHash    string      `json:"infohash"`
	InfoHashV2  string      `json:"infohash_v2,omitempty"`
	Name        string      `json:"name"`
	Length      int64       `json:"length"`
	PieceLength int64       `json:"piece_length"`
	Pieces      int         `json:"pieces"`
	Private     bool        `json:"private"`
	Source      string      `json:"source,omitempty"`
	Magnet      string      `json:"magnet"`
	Path        string      `json:"path,omitempty"` // of the .torrent file that was made
	Files       []fileEvent `json:"files"`          // last: see encode
}

// encode encodes one file after the other. encoding/json would keep a buffer of the whole event
// for ever, and there may be a million.
func (e torrentEvent) encode(b *bytes.Buffer) {
	files := e.Files
	e.Files = []fileEvent{}
	encode(b, e)
	const end = "]}\n"
	b.Truncate(b.Len() - len(end))
	for i := range files {
		if i > 0 {
			b.WriteByte(',')
		}
		encode(b, &files[i])
		b.Truncate(b.Len() - len("\n"))
	}
	b.WriteString(end)
}

type fileEvent struct {
	Index    int    `json:"index"`
	Path     string `json:"path"`
	Length   int64  `json:"length"`
	Selected bool   `json:"selected"`
}

// newTorrentEvent lists all files but padding; selected nil means all.
func newTorrentEvent(info *meta.Info, magnet string, selected []bool) torrentEvent {
	event := torrentEvent{
		InfoHash: hex.EncodeToString(info.InfoHash[:]), Name: info.Name,
		Length: info.Length, PieceLength: info.PieceLength, Pieces: info.NumPieces(),
		Private: info.Private, Source: info.Source, Magnet: magnet, Files: make([]fileEvent, 0, len(info.Files)),
	}
	if info.InfoHashV2 != nil {
		event.InfoHashV2 = hex.EncodeToString(info.InfoHashV2[:])
	}
	for i := range info.Files {
		if file := &info.Files[i]; !file.Pad {
			event.Files = append(event.Files, fileEvent{i, file.DisplayPath(), file.Length, selected == nil || selected[i]})
		}
	}
	return event
}

// checkingEvent is how far data has been checked.
type checkingEvent struct {
	InfoHash string `json:"infohash"`
	Checked  int64  `json:"checked"`
	Length   int64  `json:"length"`
}

// verifiedEvent is the result of `verify`.
type verifiedEvent struct {
	InfoHash   string              `json:"infohash"`
	Complete   bool                `json:"complete"`
	Pieces     int                 `json:"pieces"`
	GoodPieces int                 `json:"good_pieces"`
	Length     int64               `json:"length"`
	GoodBytes  int64               `json:"good_bytes"`
	Files      []verifiedFileEvent `json:"files"`
}

type verifiedFileEvent struct {
	Index     int    `json:"index"`
	Path      string `json:"path"`
	Length    int64  `json:"length"`
	State     string `json:"state"` // "ok", "damaged", "wrong size", "unreadable", "missing"
	GoodBytes int64  `json:"good_bytes"`
	Message   string `json:"message,omitempty"`
}

// progressEvent comes each second for every torrent.
type progressEvent struct {
	InfoHash   string       `json:"infohash"`
	State      string       `json:"state"`
	Completed  int64        `json:"completed"`
	Wanted     int64        `json:"wanted"`
	Length     int64        `json:"length"`
	Downloaded int64        `json:"downloaded"`
	Uploaded   int64        `json:"uploaded"`
	Wasted     int64        `json:"wasted"`
	DownRate   int64        `json:"down_rate"` // bytes per second
	UpRate     int64        `json:"up_rate"`
	Peers      peersEvent   `json:"peers"`
	Seeds      int          `json:"seeds"`
	Bridged    bridgedEvent `json:"bridged"`
	ETA        *int64       `json:"eta"` // seconds; null if unknown
}

type peersEvent struct {
	TCP     int `json:"tcp"`
	UTP     int `json:"utp"`
	WebRTC  int `json:"webrtc"`
	WebSeed int `json:"webseed"`
}

type bridgedEvent struct {
	ToWeb     int64 `json:"to_web"`
	ToClassic int64 `json:"to_classic"`
}

func newProgressEvent(infoHash string, s client.Stats) progressEvent {
	event := progressEvent{
		InfoHash: infoHash, State: string(s.State),
		Completed: s.Completed, Wanted: s.Wanted, Length: s.Length,
		Downloaded: s.Downloaded, Uploaded: s.Uploaded, Wasted: s.Wasted,
		DownRate: int64(s.DownRate), UpRate: int64(s.UpRate),
		Peers: peersEvent(s.Peers), Seeds: s.Seeds,
		Bridged: bridgedEvent{s.BridgedToWeb, s.BridgedToClassic},
	}
	if s.ETA >= 0 {
		seconds := int64(s.ETA.Seconds())
		event.ETA = &seconds
	}
	return event
}

type completeEvent struct {
	InfoHash   string  `json:"infohash"`
	Path       string  `json:"path"`
	Seconds    float64 `json:"seconds"`
	Downloaded int64   `json:"downloaded"`
}

type seedingEvent struct {
	InfoHash string `json:"infohash"`
	Magnet   string `json:"magnet"`
}

// fetchingEvent says by which URL a torrent can be played whose metadata is still being
// fetched. It is answered with status 503 until then.
type fetchingEvent struct {
	InfoHash string `json:"infohash"`
	Playlist string `json:"playlist_url"`
}

// servingEvent says by which URL a file can be played.
type servingEvent struct {
	InfoHash  string   `json:"infohash"`
	File      string   `json:"file"`
	URL       string   `json:"url"`
	Index     int      `json:"index"`
	Length    int64    `json:"length"`
	Path      string   `json:"path"` // on disk, where it will be
	Playlist  string   `json:"playlist_url"`
	Subtitles []string `json:"subtitle_urls,omitempty"`
}

// playbackEvent comes each second for the response that a player reads from.
type playbackEvent struct {
	InfoHash string `json:"infohash"`
	File     string `json:"file"`
	Position int64  `json:"position"` // bytes
	Buffered int64  `json:"buffered"` // bytes ahead of it
	Length   int64  `json:"length"`
	Rate     int64  `json:"rate"` // bytes per second
	Waiting  bool   `json:"waiting"`
	Stalls   int    `json:"stalls"`
}

// playerEvent follows the player that was started.
type playerEvent struct {
	Player  string `json:"player"`
	State   string `json:"state"` // "started", "ended" or "failed"
	Message string `json:"message,omitempty"`
}

type trackerEvent struct {
	URL      string `json:"url"`
	State    string `json:"state"` // "ok" or "error"
	Seeds    int    `json:"seeds"`
	Leeches  int    `json:"leeches"`
	Message  string `json:"message,omitempty"`
	InfoHash string `json:"infohash"`
}
