package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/causeway-bt/causeway/share"
)

// sharingEvent says by which link a share is reached.
type sharingEvent struct {
	InfoHash string `json:"infohash,omitempty"` // none: the page only receives
	File     string `json:"file,omitempty"`     // the torrent's name
	URL      string `json:"url"`                // the link
	LANURL   string `json:"lan_url,omitempty"`
	LocalURL string `json:"local_url,omitempty"`
	Torrent  string `json:"torrent_url,omitempty"`
	Magnet   string `json:"magnet,omitempty"`
}

// viewersEvent comes each second: who looks, and who got what from whom, in bytes.
type viewersEvent struct {
	Viewers int       `json:"viewers"` // pages that are open
	Loads   int       `json:"loads"`   // pages that were opened
	Views   int       `json:"views"`   // with --views: browsers that count
	Sent    sentEvent `json:"sent"`    // by this program
	Got     share.Got `json:"got"`     // as the pages say
	Bridged int64     `json:"bridged"` // what came from the other swarm
	Relayed uint64    `json:"relayed"` // between browsers, by TURN
	Rate    int64     `json:"rate"`    // of what is sent to browsers, bytes per second
}

type sentEvent struct {
	WebRTC int64 `json:"webrtc"`
	HTTP   int64 `json:"http"`
}

// tell prints the link and what is to be said of it.
func (s *sharing) tell() {
	a, f := s.app, s.flags
	event := sharingEvent{URL: s.links.main, LANURL: s.links.lan, LocalURL: s.links.local}
	if len(s.all()) == 0 {
		a.event("serving", event)
	}
	for _, t := range s.torrents {
		event.InfoHash, event.File = t.InfoHash(), t.torrent.Name()
		event.Torrent = s.links.main + "torrent/" + t.InfoHash() + ".torrent"
		event.Magnet = t.Magnet([]string{s.announceURL()}, nil)
		a.event("serving", event)
	}
	a.result(s.links.main)
	if s.links.lan != "" && s.links.lan != s.links.main {
		a.line("in this network: %s", s.links.lan)
	}
	if s.links.local != "" && s.links.local != s.links.main {
		a.line("on this machine: %s", s.links.local)
	}
	s.drawQR()
	if s.links.guessed && f.public == nil {
		a.line("that link leads here from this network; for others, forward port %d and say by which address they come (--public-url)", portOf(s.listener.Addr()))
	}
	if s.moved {
		a.warn("", fmt.Sprintf("the link is another one than before: port %d is taken", s.memory.Port))
	}
	if f.password != "" && !s.secure() {
		a.warn("", "the password is sent without encryption: whoever is on the way can read it; use --tls-cert, --acme or a proxy (--public-url https://...)")
	}
	if f.expire > 0 {
		a.line("the share ends at %s", time.Now().Add(f.expire).Format(time.TimeOnly))
	}
}

// secure tells whether the link is over TLS.
func (s *sharing) secure() bool { return strings.HasPrefix(s.links.main, "https:") }

func (s *sharing) announceURL() string {
	return "ws" + s.links.main[len("http"):len(s.links.main)-1] + s.page.AnnouncePath()
}

// drawQR shows the link to phones, on a terminal.
func (s *sharing) drawQR() {
	if s.flags.noQR || !s.app.bars() {
		return
	}
	lines, err := share.QR(s.links.main)
	if err != nil { // a link that is too long, say
		return
	}
	width, height := s.app.size()
	if len(lines)+4 > height || 2*len(lines)+2 > width {
		return // it could not be scanned
	}
	s.app.raw(lines)
}

// summarize is what the share does, for the bottom of the terminal, and an event.
func (s *sharing) summarize() (lines []string, text string) {
	figures := s.page.Figures()
	event := viewersEvent{
		Viewers: figures.Viewers, Loads: figures.Loads, Views: figures.Views, Got: figures.Got,
		Relayed: s.side.relay.Stats().Relayed,
	}
	for _, t := range s.torrents {
		stats := t.meter.look(t.torrent)
		event.Sent.WebRTC += stats.UploadedWeb
		event.Rate += stats.upWeb
		event.Bridged += stats.BridgedToWeb + stats.BridgedToClassic
	}
	event.Sent.HTTP = s.files.Sent()
	for _, reader := range s.files.Readers() {
		event.Rate += int64(reader.Rate)
	}
	s.app.event("viewers", event)
	text = fmt.Sprintf("%d viewers (%d so far), %s, from us %s, from viewers %s, bridged %s, by HTTP %s",
		figures.Viewers, figures.Loads, formatRate(float64(event.Rate)), formatBytes(event.Sent.WebRTC+event.Sent.HTTP),
		formatBytes(figures.Got.Viewers), formatBytes(event.Bridged), formatBytes(event.Sent.HTTP))
	return []string{text}, text
}
