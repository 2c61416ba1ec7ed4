package ws

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestIDIsOneCodePointPerByte(t *testing.T) {
	id := idOf("a\x00\x1f\"\\<\x7f\x80\xa0\xff\xfe123456789012")
	b, err := json.Marshal(map[string]any{"id": id, "files": map[ID]int{id: 1}})
	if err != nil {
		t.Fatal(err)
	}
	var back struct {
		ID    string
		Files map[string]int
	}
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	runes := []rune(back.ID)
	if len(runes) != 20 {
		t.Fatalf("%d code points, want 20 (JavaScript's length)", len(runes))
	}
	for i, r := range runes {
		if r != rune(id[i]) {
			t.Errorf("code point %d is %U, want %U", i, r, id[i])
		}
	}
	if back.Files[back.ID] != 1 {
		t.Errorf("keys are encoded differently: %q", b)
	}
	for _, bad := range []string{`"too short"`, `"` + strings.Repeat("x", 21) + `"`, `"` + strings.Repeat("\u0100", 20) + `"`, "\"" + strings.Repeat("\xff", 20) + "\"", `7`} {
		var id ID
		if err := json.Unmarshal([]byte(bad), &id); err == nil {
			t.Errorf("%s was taken for an id", bad)
		}
	}
}

// TestAnnounceMessage compares with what webtorrent.js 3.0.21 sends, except that
// "left" is a number.
func TestAnnounceMessage(t *testing.T) {
	b, err := json.Marshal(announceMessage{
		Action: actionAnnounce, InfoHash: idOf("01234567890123456789"), PeerID: testPeerID,
		Event: eventStarted, Left: unknownLeft, NumWant: 1,
		Offers: []offerMessage{{OfferID: idOf("abcdefghijabcdefghij"), Offer: description{"offer", "v=0\r\n"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"action":"announce","info_hash":"01234567890123456789","peer_id":"-CW0100-test-peer-id",` +
		`"event":"started","uploaded":0,"downloaded":0,"left":1099511627776,"numwant":1,` +
		`"offers":[{"offer_id":"abcdefghijabcdefghij","offer":{"type":"offer","sdp":"v=0\r\n"}}]}`
	if string(b) != want {
		t.Errorf("got  %s\nwant %s", b, want)
	}
}

func FuzzParseMessage(f *testing.F) {
	for _, seed := range []string{
		`{"action":"announce","info_hash":"01234567890123456789","complete":1,"incomplete":2,"interval":120}`,
		`{"action":"announce","info_hash":"01234567890123456789","peer_id":"` + strings.Repeat("\u00ff", 20) + `","offer":{"type":"offer","sdp":"v=0"},"offer_id":"abcdefghijabcdefghij"}`,
		`{"action":"scrape","files":{"01234567890123456789":{"complete":1,"incomplete":0,"downloaded":1}}}`,
		`{"failure reason":"no"}`, `{"interval":1e300}`, `{"interval":-1,"complete":1e99}`, `null`, `[`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseMessage(b)
		if err != nil {
			return
		}
		if d := seconds(m.Interval, minInterval, maxInterval); d < minInterval || d > maxInterval {
			t.Errorf("interval %v", d)
		}
		if m.Complete != nil && count(*m.Complete) < 0 {
			t.Error("negative count")
		}
		if m.InfoHash == nil {
			return
		}
		text, err := json.Marshal(m.InfoHash)
		if err != nil {
			t.Fatal(err)
		}
		var back ID
		if err := json.Unmarshal(text, &back); err != nil || back != *m.InfoHash {
			t.Errorf("%q does not come back: %v", text, err)
		}
	})
}
