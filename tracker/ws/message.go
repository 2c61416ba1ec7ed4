package ws

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"
)

// ID is an infohash, a peer id or an offer id. On the wire each of its bytes is
// one code point, U+0000 to U+00FF, of a JSON string ("binary" or latin1 strings
// in JavaScript).
type ID [20]byte

var errNotBinary = errors.New("want a string of 20 characters up to U+00FF")

// MarshalText and UnmarshalText make ID a JSON string and a key of JSON objects.
func (id ID) MarshalText() ([]byte, error) {
	runes := make([]rune, len(id))
	for i, b := range id {
		runes[i] = rune(b)
	}
	return []byte(string(runes)), nil
}

// UnmarshalText fails unless text has exactly 20 code points up to U+00FF.
func (id *ID) UnmarshalText(text []byte) error {
	i := 0
	var parsed ID
	for _, r := range string(text) {
		if r > 0xFF || i == len(parsed) { // invalid UTF-8 reads as U+FFFD
			return errNotBinary
		}
		parsed[i] = byte(r)
		i++
	}
	if i != len(parsed) {
		return errNotBinary
	}
	*id = parsed
	return nil
}

// description is a WebRTC session description.
type description struct {
	Type string `json:"type"`
	SDP  string `json:"sdp"`
}

// unknownLeft is what "left" says while the size is not known. It must be a
// number above zero: the reference tracker takes null for a seed.
const unknownLeft = 1 << 40

// The actions and events of the protocol.
const (
	actionAnnounce = "announce"
	actionScrape   = "scrape"

	eventStarted   = "started"
	eventCompleted = "completed"
	eventStopped   = "stopped"
	eventUpdate    = ""
)

// announceMessage announces a torrent.
type announceMessage struct {
	Action     string         `json:"action"`
	InfoHash   ID             `json:"info_hash"`
	PeerID     ID             `json:"peer_id"`
	Event      string         `json:"event,omitempty"`
	Uploaded   int64          `json:"uploaded"`
	Downloaded int64          `json:"downloaded"`
	Left       int64          `json:"left"`
	NumWant    int            `json:"numwant"`
	TrackerID  string         `json:"trackerid,omitempty"`
	Offers     []offerMessage `json:"offers,omitempty"`
}

type offerMessage struct {
	OfferID ID          `json:"offer_id"`
	Offer   description `json:"offer"`
}

// answerMessage answers an offer that the tracker relayed.
type answerMessage struct {
	Action   string      `json:"action"`
	InfoHash ID          `json:"info_hash"`
	PeerID   ID          `json:"peer_id"`
	ToPeerID ID          `json:"to_peer_id"`
	OfferID  ID          `json:"offer_id"`
	Answer   description `json:"answer"`
}

type scrapeMessage struct {
	Action   string `json:"action"`
	InfoHash []ID   `json:"info_hash"`
}

// message is anything that a tracker sends.
type message struct {
	Action   string       `json:"action"`
	InfoHash *ID          `json:"info_hash"`
	PeerID   *ID          `json:"peer_id"`
	OfferID  *ID          `json:"offer_id"`
	Offer    *description `json:"offer"`
	Answer   *description `json:"answer"`

	Complete    *float64 `json:"complete"`
	Incomplete  *float64 `json:"incomplete"`
	Interval    float64  `json:"interval"`
	MinInterval float64  `json:"min interval"`
	TrackerID   string   `json:"tracker id"`
	Failure     string   `json:"failure reason"`
	Warning     string   `json:"warning message"`

	Files map[ID]scrapeEntry `json:"files"`

	ICEServers iceServers `json:"iceServers"`
}

type scrapeEntry struct {
	Complete   float64 `json:"complete"`
	Incomplete float64 `json:"incomplete"`
	Downloaded float64 `json:"downloaded"`
}

func parseMessage(b []byte) (message, error) {
	var m message
	if err := json.Unmarshal(b, &m); err != nil {
		return message{}, fmt.Errorf("parse a tracker's message: %w", err)
	}
	return m, nil
}

// count turns a number from outside into a count of peers.
func count(f float64) int {
	if math.IsNaN(f) || f < 0 {
		return 0
	}
	return int(min(f, math.MaxInt32))
}

// seconds turns a number from outside into a duration between lo and hi.
func seconds(f float64, lo, hi time.Duration) time.Duration {
	if math.IsNaN(f) || f <= lo.Seconds() {
		return lo
	}
	return time.Duration(min(f, hi.Seconds()) * float64(time.Second))
}
