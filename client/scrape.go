package client

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/causeway-bt/causeway/client/network"
	"github.com/causeway-bt/causeway/tracker"
	"github.com/causeway-bt/causeway/tracker/ws"
)

// scrapesAtOnce bounds the trackers that are asked at a time; torrents name up to 512.
const scrapesAtOnce = 64

// Scraped is what a tracker answered.
type Scraped struct {
	URL   string
	Swarm tracker.Swarm
	Took  time.Duration
	Err   error
}

// Scraper asks trackers how large swarms are, without a Client. Logger may be nil.
type Scraper struct {
	Network *network.Network
	Logger  *slog.Logger
	// OnDate, if set, is told what an HTTP tracker's clock said, from several goroutines.
	OnDate func(theirs, ours time.Time)
}

// Scrape asks trackers of all kinds side by side, by their announce URLs, for one torrent. The
// answers are in the order of the URLs.
func (s Scraper) Scrape(ctx context.Context, infoHash [20]byte, urls []string) []Scraped {
	classic := tracker.Scraper{Network: s.Network, UserAgent: userAgent, Logger: s.Logger, OnDate: s.OnDate}
	sockets := ws.New(ws.Config{Network: s.Network, UserAgent: userAgent, Logger: s.Logger})
	defer sockets.Close()
	slots := make(chan struct{}, scrapesAtOnce)
	answers := make([]Scraped, len(urls))
	var asking sync.WaitGroup
	for i, url := range urls {
		asking.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			began := time.Now()
			a := Scraped{URL: url}
			if tracker.IsWebSocket(url) {
				a.Swarm, a.Err = scrapeSocket(ctx, sockets, url, infoHash)
			} else {
				swarms, err := classic.Scrape(ctx, url, infoHash)
				a.Swarm, a.Err = swarms[infoHash], err
			}
			a.Took = time.Since(began)
			answers[i] = a
		})
	}
	asking.Wait()
	return answers
}

func scrapeSocket(ctx context.Context, sockets *ws.Manager, url string, infoHash [20]byte) (tracker.Swarm, error) {
	swarms, err := sockets.Scrape(ctx, url, infoHash)
	swarm := swarms[infoHash]
	return tracker.Swarm{Seeds: swarm.Seeds, Leeches: swarm.Leeches, Completed: swarm.Downloads}, err
}
