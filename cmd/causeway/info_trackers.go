package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/causeway-bt/causeway/client"
	"github.com/causeway-bt/causeway/client/network"
	"github.com/causeway-bt/causeway/tracker"
	"github.com/causeway-bt/causeway/tracker/ws"
)

const (
	// scrapeTimeout bounds asking all trackers: a UDP packet may be lost twice, and
	// dead trackers hold nobody up for long.
	scrapeTimeout = 8 * time.Second
	// scrapesAtOnce bounds the trackers that are asked at a time; torrents name up to
	// 512.
	scrapesAtOnce = 64
)

// scraped is what one tracker answered.
type scraped struct {
	url   string
	swarm tracker.Swarm
	err   error
}

// scrapeEvent is a tracker event of ` + "`info`" + `.
type scrapeEvent struct {
	trackerEvent
	Completed int `json:"completed"` // downloads that the tracker has seen finish
}

// infoTrackers shows what the trackers count of a torrent. One that does not answer says
// why; it is no failure.
func (a *app) infoTrackers(ctx context.Context, infoHash [20]byte, urls []string, way *network.Network) error {
	seen := map[string]bool{}
	urls = slices.DeleteFunc(urls, func(url string) bool {
		again := seen[url]
		seen[url] = true
		return again
	})
	if len(urls) == 0 {
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, scrapeTimeout)
	defer cancel()
	answers := a.scrapeAll(bounded, infoHash, urls, way)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "Tracker\tSeeds\tLeeches\tCompleted\n")
	for _, s := range answers {
		event := scrapeEvent{trackerEvent{URL: s.url, State: "ok", InfoHash: hex.EncodeToString(infoHash[:])}, s.swarm.Completed}
		if s.err != nil {
			event.State, event.Message = "error", s.err.Error()
			fmt.Fprintf(table, "%s\t%v\n", s.url, s.err)
		} else {
			event.Seeds, event.Leeches = s.swarm.Seeds, s.swarm.Leeches
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", s.url,
				strconv.Itoa(s.swarm.Seeds), strconv.Itoa(s.swarm.Leeches), strconv.Itoa(s.swarm.Completed))
		}
		a.event("tracker", event)
	}
	table.Flush()
	a.result("\n" + strings.TrimRight(b.String(), "\n"))
	return nil
}

// scrapeAll asks all trackers side by side.
func (a *app) scrapeAll(ctx context.Context, infoHash [20]byte, urls []string, way *network.Network) []scraped {
	const userAgent = "Causeway/" + client.Version
	scraper := tracker.Scraper{Network: way, UserAgent: userAgent, Logger: a.logger()}
	sockets := ws.New(ws.Config{Network: way, UserAgent: userAgent, Logger: a.logger()})
	defer sockets.Close()
	slots := make(chan struct{}, scrapesAtOnce)
	answers := make([]scraped, len(urls))
	var asking sync.WaitGroup
	for i, url := range urls {
		asking.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			answers[i] = scraped{url: url}
			if tracker.IsWebSocket(url) {
				answers[i].swarm, answers[i].err = scrapeSocket(ctx, sockets, url, infoHash)
				return
			}
			swarms, err := scraper.Scrape(ctx, url, infoHash)
			answers[i].swarm, answers[i].err = swarms[infoHash], err
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
