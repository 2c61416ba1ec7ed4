package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/causeway-bt/causeway/client"
	"github.com/causeway-bt/causeway/client/network"
)

// scrapeTimeout bounds asking all trackers: a UDP packet may be lost twice, and dead trackers
// hold nobody up for long.
const scrapeTimeout = 8 * time.Second

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
	answers := client.Scraper{Network: way, Logger: a.logger()}.Scrape(bounded, infoHash, urls)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "Tracker\tSeeds\tLeeches\tCompleted\n")
	for _, s := range answers {
		event := scrapeEvent{trackerEvent{URL: s.URL, State: "ok", InfoHash: hex.EncodeToString(infoHash[:])}, s.Swarm.Completed}
		if s.Err != nil {
			event.State, event.Message = "error", s.Err.Error()
			fmt.Fprintf(table, "%s\t%v\n", s.URL, s.Err)
		} else {
			event.Seeds, event.Leeches = s.Swarm.Seeds, s.Swarm.Leeches
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", s.URL,
				strconv.Itoa(s.Swarm.Seeds), strconv.Itoa(s.Swarm.Leeches), strconv.Itoa(s.Swarm.Completed))
		}
		a.event("tracker", event)
	}
	table.Flush()
	a.result("\n" + strings.TrimRight(b.String(), "\n"))
	return nil
}
