package ws

import (
	"context"
	"fmt"
	"time"

	"github.com/causeway-bt/causeway/tracker/internal/reach"
)

// answerTimeout bounds the making of one answer. The offer lives 50 s at the
// other end, of which the connection needs most.
const answerTimeout = 10 * time.Second

// maxTrackerID bounds what a tracker wants to be told again, in bytes.
const maxTrackerID = 300

// handleMessage acts on one message of the tracker; it does not block.
func (s *socket) handleMessage(l *link, m message) {
	if m.Failure != "" {
		s.failed(m)
		return
	}
	if m.Action == actionScrape {
		s.scraped(m)
		return
	}
	if m.Action != actionAnnounce || m.InfoHash == nil {
		if m.Warning != "" {
			s.warn(m.Warning)
		}
		return
	}
	h := s.handle(*m.InfoHash)
	if h == nil {
		return // a torrent removed meanwhile
	}
	ours := l.heard(h.peerID)
	if m.PeerID != nil && (*m.PeerID == ours || *m.PeerID == h.peerID) {
		return // an echo of ourselves
	}
	switch {
	case m.Offer != nil && m.PeerID != nil && m.OfferID != nil:
		s.offered(h, *m.PeerID, *m.OfferID, m.Offer.SDP)
	case m.Answer != nil && m.PeerID != nil && m.OfferID != nil:
		h.torrent.Answered(*m.PeerID, *m.OfferID, m.Answer.SDP)
	default:
		h.replied(m)
		h.named(l, m.ICEServers)
	}
}

// offered has an offer answered, unless there are too many of them.
func (s *socket) offered(h *Handle, peer, offer ID, sdp string) {
	if !h.offers.Allow() || !s.m.offers.Allow() {
		return
	}
	select {
	case s.m.answering <- struct{}{}:
	default:
		return
	}
	s.m.spawn(s.url, func() {
		defer func() { <-s.m.answering }()
		ctx, cancel := context.WithTimeout(h.ctx, answerTimeout)
		defer cancel()
		answer, err := h.torrent.Answer(ctx, peer, offer, sdp)
		if err != nil {
			s.m.config.Logger.Debug("offer not answered", "url", s.url, "error", err)
			return
		}
		l, err := s.current()
		if err == nil && l != nil {
			err = s.send(ctx, l, answerMessage{
				Action: actionAnnounce, InfoHash: h.hash, PeerID: l.idOf(h.peerID),
				ToPeerID: peer, OfferID: offer, Answer: description{Type: "answer", SDP: answer},
			})
		}
		if err != nil {
			s.m.config.Logger.Debug("answer not sent", "url", s.url, "error", err)
		}
	})
}

// failed reports a refusal. One without an action is what trackers send for a
// message that they could not parse; the connection is fine.
func (s *socket) failed(m message) {
	text := clip(m.Failure)
	if m.Action == actionScrape {
		s.endScrape(nil, fmt.Errorf("the tracker refused: %s", text))
		return
	}
	if m.Action == "" || m.InfoHash == nil {
		s.warn(text)
		return
	}
	if h := s.handle(*m.InfoHash); h != nil {
		h.report(func(status *Status) { status.Err = fmt.Errorf("the tracker refused: %s", text) })
	}
}

// warn reports words of the tracker that name no torrent. They are about the
// last announce, if anything.
func (s *socket) warn(text string) {
	s.mu.Lock()
	h := s.announced
	s.mu.Unlock()
	s.m.config.Logger.Debug("tracker warning", "url", s.url, "message", clip(text))
	if h != nil {
		h.report(func(status *Status) { status.Warning = clip(text) })
	}
}

func clip(text string) string { return reach.Words(text) }
