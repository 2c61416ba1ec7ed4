package websocket

import (
	"strconv"
	"time"

	"github.com/causeway-bt/causeway/tracker/server/table"
)

// escapes has for each byte what it is in a JSON string, as a code point of its own.
var escapes = func() (t [256]string) {
	const hex = "0123456789abcdef"
	for c := range t {
		switch {
		case c == '"' || c == '\\':
			t[c] = `\` + string(rune(c))
		case c < 0x20:
			t[c] = `\u00` + string(hex[c>>4]) + string(hex[c&15])
		default:
			t[c] = string(rune(c))
		}
	}
	return t
}()

// appendID appends an id as a JSON string.
func appendID(b []byte, id *[20]byte) []byte {
	b = append(b, '"')
	for _, c := range id {
		b = append(b, escapes[c]...)
	}
	return append(b, '"')
}

// appendText appends text of our own, which is ASCII.
func appendText(b []byte, text string) []byte {
	b = append(b, '"')
	for _, c := range []byte(text) {
		b = append(b, escapes[c]...)
	}
	return append(b, '"')
}

func appendCount(b []byte, key string, n uint32) []byte {
	b = append(b, key...)
	return strconv.AppendUint(b, uint64(n), 10)
}

// appendReply appends the reply to an announce. token and ice are left out where empty.
func appendReply(b []byte, hash *table.Hash, counts table.Counts, interval time.Duration, token string, ice []byte) []byte {
	b = append(b, `{"action":"announce","info_hash":`...)
	b = appendID(b, hash)
	b = appendCount(b, `,"complete":`, counts.Complete)
	b = appendCount(b, `,"incomplete":`, counts.Incomplete)
	b = appendCount(b, `,"interval":`, uint32(interval/time.Second))
	if token != "" {
		b = append(b, `,"tracker id":`...)
		b = appendText(b, token)
	}
	if len(ice) > 0 {
		b = append(b, `,"iceServers":`...)
		b = append(b, ice...)
	}
	return append(b, '}')
}

// appendRelayed appends an offer or an answer as it is passed on; kind says which.
func appendRelayed(b []byte, hash *table.Hash, from *table.ID, offer *table.OfferID, kind string, description []byte) []byte {
	b = append(b, `{"action":"announce","info_hash":`...)
	b = appendID(b, hash)
	b = append(b, `,"peer_id":`...)
	b = appendID(b, from)
	b = append(b, `,"offer_id":`...)
	b = appendID(b, offer)
	b = append(b, ',', '"')
	b = append(b, kind...)
	b = append(b, '"', ':')
	b = append(b, description...)
	return append(b, '}')
}

// appendFailure appends an error. rawHash is the infohash as the client wrote it, or nil.
func appendFailure(b []byte, action action, rawHash []byte, reason string, retryIn time.Duration) []byte {
	name := "announce"
	if action == scrapeAction {
		name = "scrape"
	}
	b = append(b, `{"action":"`...)
	b = append(b, name...)
	b = append(b, `","info_hash":`...)
	if len(rawHash) == 0 {
		rawHash = []byte(`""`) // webtorrent.js needs a string
	}
	b = append(b, rawHash...)
	b = append(b, `,"failure reason":`...)
	b = appendText(b, reason)
	if retryIn > 0 {
		b = appendCount(b, `,"interval":`, uint32(retryIn/time.Second))
	}
	return append(b, '}')
}

// appendScrape appends the reply to a scrape.
func appendScrape(b []byte, hashes []table.Hash, counts []table.Counts, interval time.Duration) []byte {
	b = append(b, `{"action":"scrape","files":{`...)
	for i := range hashes {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendID(b, &hashes[i])
		b = appendCount(b, `:{"complete":`, counts[i].Complete)
		b = appendCount(b, `,"incomplete":`, counts[i].Incomplete)
		b = appendCount(b, `,"downloaded":`, counts[i].Downloaded)
		b = append(b, '}')
	}
	b = appendCount(b, `},"flags":{"min_request_interval":`, uint32(interval/time.Second))
	return append(b, '}', '}')
}
