package client

import (
	"cmp"
	"math"
	"time"

	"github.com/causeway-bt/causeway/client/content"
	"github.com/causeway-bt/causeway/client/swarm"
	"github.com/causeway-bt/causeway/tracker"
)

// State is what a torrent is doing.
type State string

const (
	StateMetadata    State = "metadata" // fetching the info dictionary
	StateChecking    State = "checking"
	StateDownloading State = "downloading"
	StateSeeding     State = "seeding"
	StateFailed      State = "failed"
	StateStopped     State = "stopped"
	StateLayers      State = "layers" // fetching the piece layers (BEP 52)
	StateMoving      State = "moving"
)

// PeerCounts are connected peers by transport.
type PeerCounts struct {
	TCP, UTP, WebRTC, WebSeed int
}

// Stats are the numbers of a torrent at a moment. Sizes are in bytes, rates in
// bytes per second of payload.
type Stats struct {
	State State
	// Completed is verified data, Wanted what is in selected files, Length all.
	// Left is what is wanted and lacking. Of a torrent that is stopped it is what was
	// known last.
	Completed, Wanted, Left, Length int64
	// Checked is how far the check of the files is, of ToCheck; 0 of 0 as long as
	// nothing has to be hashed.
	Checked, ToCheck int64
	// Downloaded and Uploaded are payload of this run; Wasted is the part of
	// Downloaded that came twice, was wrong or not asked for.
	Downloaded, Uploaded, Wasted int64
	// DownloadedWeb and UploadedWeb are the part of Downloaded and Uploaded that came
	// from and went to browsers.
	DownloadedWeb, UploadedWeb int64
	DownRate, UpRate           float64
	Peers                      PeerCounts
	Seeds                      int // connected peers that have everything
	// BridgedToWeb and BridgedToClassic are bytes that came from one swarm and
	// were sent to the other.
	BridgedToWeb, BridgedToClassic int64
	ETA                            time.Duration // -1 unknown
	// LoopDelay is the longest that anything had to wait for the torrent's event loop.
	LoopDelay time.Duration
}

// Stats returns the torrent's numbers. Where something happens it waits for the event loop,
// so it is not for calling thousands of times a second.
func (t *Torrent) Stats() Stats {
	if t.pending.Load() == 0 {
		if s := t.resting.Load(); s != nil {
			return *s
		}
	}
	result := make(chan Stats, 1)
	if t.do(func() { result <- t.stats() }) {
		select {
		case s := <-result:
			return s
		case <-t.ended:
		}
	}
	<-t.ended
	return t.stats()
}

// state is what the torrent is doing, for the event loop.
func (t *Torrent) state() State {
	switch t.loop.phase {
	case phaseStopped:
		return StateStopped
	case phaseMetadata:
		return StateMetadata
	case phaseLayers:
		return StateLayers
	case phaseChecking:
		return StateChecking
	case phaseMoving:
		return StateMoving
	case phaseError:
		return StateFailed
	}
	if t.isSeed() {
		return StateSeeding
	}
	return StateDownloading
}

func (t *Torrent) stats() Stats {
	l := &t.loop
	s := Stats{
		State:      t.state(),
		Downloaded: t.downloaded.Load(), Uploaded: t.uploaded.Load(), Wasted: t.wasted.Load(),
		DownloadedWeb: t.downloadedWeb.Load(), UploadedWeb: t.uploadedWeb.Load(),
		BridgedToWeb: t.bridgedToWeb.Load(), BridgedToClassic: t.bridgedToClassic.Load(),
		DownRate: l.downRate.perSecond, UpRate: l.upRate.perSecond, ETA: -1,
		LoopDelay: time.Duration(t.slowest.Load()),
	}
	if info := t.Info(); info != nil {
		s.Length = info.Length
	}
	if c := l.content; c != nil {
		s.Checked, s.ToCheck = c.Checked()
		if l.phase == phaseLive {
			sizes := c.Sizes()
			s.Completed, s.Wanted, s.Left = sizes.Completed, sizes.Wanted, sizes.Left
		}
	}
	if last := t.lastContent.Load(); last != nil && l.phase != phaseLive {
		sizes := content.SizesOf(t.Info(), last.Verified(), *t.selected.Load())
		s.Completed, s.Wanted, s.Left = sizes.Completed, sizes.Wanted, sizes.Left
	}
	switch {
	case s.State == StateSeeding:
		s.ETA = 0
	case s.State == StateDownloading && s.DownRate > 1:
		s.ETA = time.Duration(math.Ceil(float64(s.Left)/s.DownRate)) * time.Second
	}
	for p := range l.peers {
		switch p.kind {
		case swarm.TCP:
			s.Peers.TCP++
		case swarm.UTP:
			s.Peers.UTP++
		case swarm.WebRTC:
			s.Peers.WebRTC++
		}
		if p.isSeed {
			s.Seeds++
		}
	}
	return s
}

// announceStats is what announces carry. It does not wait for the event loop.
func (t *Torrent) announceStats() tracker.Stats {
	s := tracker.Stats{Uploaded: t.uploaded.Load(), Downloaded: t.downloaded.Load(), Left: swarm.UnknownLeft}
	// Of a torrent that stops, what was known last is told.
	if c := cmp.Or(t.content.Load(), t.lastContent.Load()); c != nil {
		s.Left = c.Left()
	}
	return s
}

const (
	// rateInterval is how often rates are computed.
	rateInterval = time.Second
	// rateSmoothing is the weight of the newest interval in a rate that is shown.
	rateSmoothing = 0.3
)

// rateMeter computes the rate at which a counter grows.
type rateMeter struct {
	perSecond float64 // smoothed
	at        time.Time
	count     int64
}

func (r *rateMeter) update(now time.Time, count int64) {
	if r.at.IsZero() {
		r.at, r.count = now, count
		return
	}
	seconds := now.Sub(r.at).Seconds()
	if seconds <= 0 {
		return
	}
	current := float64(count-r.count) / seconds
	weight := rateSmoothing
	if r.perSecond == 0 {
		weight = 1
	}
	r.perSecond += weight * (current - r.perSecond)
	if r.perSecond < 1 {
		r.perSecond = 0
	}
	r.at, r.count = now, count
}
