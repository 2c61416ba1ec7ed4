package webrtcwire

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/causeway-bt/causeway/webrtcwire/sctp"
)

// ErrAnswered means that an offer was answered before: one offer makes one
// connection.
var ErrAnswered = errors.New("webrtcwire: offer already answered")

// labelSize is the length of a channel's random label before hex, as in
// webtorrent.js. The label means nothing.
const labelSize = 20

// ourMid names the one section of our offers.
const ourMid = "0"

// label is one for a channel.
func label() string {
	b := make([]byte, labelSize)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// Offer is a description that waits for an answer. It ends by itself after
// Config.OfferLifetime.
type Offer struct {
	// SDP is the description for the other side, with all candidates.
	SDP string

	// Created says when the offer was made.
	Created time.Time

	s *session
}

// Offer makes an offer. It takes a few milliseconds, or up to
// Config.GatherTimeout while STUN and TURN servers are slow. The error may be
// ErrTooMany, ErrExpired or ErrClosed. more are ICE servers besides those of Config; with
// Config.RelayOnly they are not used.
func (t *Transport) Offer(ctx context.Context, more ...ICEServer) (*Offer, error) {
	s, err := t.newSession(stateOffered, t.config.OfferLifetime, nil, more)
	if err != nil {
		return nil, err
	}
	offer := &Offer{Created: time.Now(), s: s}
	err = s.guard("make an offer", func() error {
		offer.SDP, err = s.describe(ctx, setupBoth, ourMid)
		return err
	})
	if err != nil {
		s.shut(err)
		return nil, s.cause() // which err may only follow from
	}
	return offer, nil
}

// Done is closed when the offer has expired, was closed, or its connection ended.
func (o *Offer) Done() <-chan struct{} { return o.s.ctx.Done() }

// Close withdraws the offer. It does nothing to a connection that Accept has
// returned.
func (o *Offer) Close() error { return o.s.withdraw() }

// Accept takes the answer and waits for the connection: until ctx ends, which
// closes it, and at most Config.NegotiationTimeout. A description that is refused
// outright (ErrBadSDP) leaves the offer open for a better one; otherwise the
// error may be ErrAnswered, ErrExpired, ErrClosed or a *NegotiationError.
func (o *Offer) Accept(ctx context.Context, answerSDP string) (*Conn, error) {
	remote, err := inspect(answerSDP)
	if err != nil {
		return nil, err
	}
	var to parameters
	if err = o.s.guard("read an answer", func() error { to, err = parse(remote.sdp); return err }); err != nil {
		return nil, err
	}
	if err := o.s.begin(); err != nil {
		return nil, err
	}
	err = o.s.guard("take an answer", func() error {
		return o.s.connect(remote, to, true, to.setup == setupPassive)
	})
	if err != nil {
		o.s.shut(err)
		return nil, o.s.cause()
	}
	return o.s.wait(ctx)
}

// Answer is our description for an offer that came from outside, and the
// connection on its way. It ends by itself after Config.NegotiationTimeout.
type Answer struct {
	// SDP is the description for the other side, with all candidates.
	SDP string

	s *session
}

// Answer answers an offer. Errors wrap ErrBadSDP when the offer is to blame, and
// may be ErrTooMany, ErrClosed or a *NegotiationError. more is as for [Transport.Offer].
func (t *Transport) Answer(ctx context.Context, offerSDP string, more ...ICEServer) (*Answer, error) {
	remote, err := inspect(offerSDP)
	if err != nil {
		return nil, err
	}
	s, err := t.newSession(stateNegotiating, t.config.NegotiationTimeout, remote.addrs, more)
	if err != nil {
		return nil, err
	}
	answer := &Answer{s: s}
	err = s.guard("answer an offer", func() error {
		to, err := parse(remote.sdp)
		if err != nil {
			return err
		}
		setup := setupActive // RFC 8842 section 5.3: one round trip less
		if to.setup == setupActive {
			setup = setupPassive
		}
		if to.mid == "" {
			to.mid = ourMid
		}
		if err := s.connect(remote, to, false, setup == setupActive); err != nil {
			return err
		}
		answer.SDP, err = s.describe(ctx, setup, to.mid)
		return err
	})
	if err != nil {
		s.shut(err)
		return nil, s.cause() // which err may only follow from
	}
	return answer, nil
}

// Wait returns the connection once the other side has opened it: until ctx ends,
// which closes it. The error may be ErrClosed or a *NegotiationError.
func (a *Answer) Wait(ctx context.Context) (*Conn, error) { return a.s.wait(ctx) }

// Reached reports whether a path to the other side was found. One that is there and can
// be reached takes a second or two.
func (a *Answer) Reached() bool { return a.s.reached() }

// Close gives the negotiation up. It does nothing to a connection that Wait has
// returned.
func (a *Answer) Close() error { return a.s.withdraw() }

// begin moves an offer to its negotiation, once.
func (s *session) begin() error {
	s.mu.Lock()
	switch s.state {
	case stateGone:
		defer s.mu.Unlock()
		return s.err
	case stateOffered:
		s.since = time.Now()
		s.deadline = s.since.Add(s.t.config.NegotiationTimeout)
		s.timer.Reset(s.t.config.NegotiationTimeout)
		s.mu.Unlock()
		return s.advance(stateOffered, stateNegotiating)
	}
	s.mu.Unlock()
	return ErrAnswered
}

// admit takes a data channel that the peer opened. The first one of a peer that offered is the
// connection; of others none is used, and a peer that opens them without end loses it.
func (s *session) admit(channel *sctp.Channel, offered bool) {
	s.mu.Lock()
	s.channels++
	n := s.channels
	s.mu.Unlock()
	switch {
	case n > maxChannels:
		s.shut(fmt.Errorf("peer opened more than %d data channels", maxChannels))
	case n == 1 && !offered:
		s.open(channel)
	}
}

// open makes the Conn of an open channel.
func (s *session) open(channel *sctp.Channel) {
	err := s.guard("open the data channel", func() error {
		if !channel.Reliable() {
			return errors.New("peer opened an unreliable data channel; a byte stream needs a reliable, ordered one")
		}
		conn := newConn(s, channel)
		if err := s.advance(stateNegotiating, stateConnected); err != nil {
			return err
		}
		s.mu.Lock()
		s.conn = conn
		s.mu.Unlock()
		close(s.ready)
		return nil
	})
	if err != nil {
		s.shut(err)
	}
}

func (s *session) wait(ctx context.Context) (*Conn, error) {
	select {
	case <-s.ready:
	case <-s.ctx.Done():
		return nil, s.cause()
	case <-ctx.Done():
		s.shut(ErrClosed)
		return nil, fmt.Errorf("webrtcwire: connect: %w", context.Cause(ctx))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.state == stateGone:
		return nil, s.err
	case s.claimed:
		return nil, ErrAnswered
	}
	s.claimed = true
	s.timer.Stop()
	return s.conn, nil
}

func (s *session) withdraw() error {
	s.mu.Lock()
	claimed := s.claimed
	s.mu.Unlock()
	if !claimed {
		s.shut(ErrClosed)
		s.awaitGone()
	}
	return nil
}
