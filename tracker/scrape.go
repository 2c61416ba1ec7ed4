package tracker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/anacrolix/torrent/tracker/udp"

	"github.com/causeway-bt/causeway/tracker/internal/reach"
)

const (
	// maxScrape bounds the torrents of one scrape: what BEP 15 says fits a packet.
	maxScrape = 74
	// scrapeTimeout bounds one scrape, beside its context.
	scrapeTimeout = announceTimeout
)

// Swarm is what a tracker counts of one torrent.
type Swarm struct {
	Seeds, Leeches int
	Completed      int // downloads that were finished, ever
}

// Scraper asks HTTP (BEP 48) and UDP trackers (BEP 15) how large swarms are. The zero
// Scraper is ready for use.
type Scraper struct {
	Network   Network // nil: package net, with proxies from the environment
	UserAgent string  // sent to HTTP trackers
	Logger    *slog.Logger
	// OnDate, if set, is told what an HTTP tracker's clock said ("Date") when an answer came.
	OnDate func(theirs, ours time.Time)
}

// ErrNoScrape is the cause when a tracker's URL has no place for scrapes: the last part
// of an HTTP tracker's path must begin with "announce" (BEP 48).
var ErrNoScrape = errors.New("this tracker does not tell the size of swarms: its URL does not end in /announce")

// Scrape asks a tracker, by its announce URL, for the counts of 1 to 74 torrents; those
// that it does not know are absent. Of the address families of its host, the first that
// answers counts. Errors are in words.
func (s Scraper) Scrape(ctx context.Context, announceURL string, hashes ...[20]byte) (map[[20]byte]Swarm, error) {
	if len(hashes) == 0 || len(hashes) > maxScrape {
		return nil, fmt.Errorf("scrape of %d torrents, want 1 to %d", len(hashes), maxScrape)
	}
	u, err := parseURL(announceURL)
	if err != nil {
		return nil, err
	}
	o := outside{net: s.Network, log: s.Logger, userAgent: s.UserAgent, onDate: s.OnDate}
	if o.log == nil {
		o.log = slog.New(slog.DiscardHandler)
	}
	if o.net == nil {
		o.net = reach.System{}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, scrapeTimeout, errSlow)
	defer cancel()
	families, err := o.families(ctx, u)
	if err != nil {
		return nil, err
	}
	type outcome struct {
		swarms map[[20]byte]Swarm
		err    error
	}
	ctx, done := context.WithCancel(ctx)
	defer done()
	outcomes := make(chan outcome, len(families))
	for _, f := range families {
		go func() {
			var got outcome
			fault := reach.Guard(o.log, "scrape", func() { got.swarms, got.err = o.scrape(ctx, f, u, hashes) })
			if fault != nil {
				got.err = fault
			}
			outcomes <- got
		}()
	}
	var answer outcome
	for range families {
		switch o := <-outcomes; {
		case answer.swarms != nil: // the other family was quicker
		case o.err != nil:
			answer.err = clearer(answer.err, o.err)
		default:
			answer = o
			done()
		}
	}
	return answer.swarms, answer.err
}

func (o *outside) scrape(ctx context.Context, f family, u *url.URL, hashes [][20]byte) (map[[20]byte]Swarm, error) {
	if u.Scheme != "http" && u.Scheme != "https" {
		return o.scrapeUDP(ctx, f, u, hashes)
	}
	scrape, err := scrapeURL(u)
	if err != nil {
		return nil, err
	}
	for _, h := range hashes {
		scrape.RawQuery = appendQuery(scrape.RawQuery, "info_hash", string(h[:]))
	}
	parse := func(body []byte) (map[[20]byte]Swarm, error) { return parseHTTPScrape(body, hashes) }
	body, _, err := o.fetch(ctx, f, scrape, func(body []byte) error {
		_, err := parse(body)
		return err
	})
	if err != nil {
		return nil, err
	}
	return parse(body)
}

// scrapeURL makes a tracker's scrape URL of its announce URL.
func scrapeURL(announce *url.URL) (*url.URL, error) {
	path := announce.EscapedPath()
	last := strings.LastIndexByte(path, '/') + 1
	rest, ok := strings.CutPrefix(path[last:], "announce")
	if !ok {
		return nil, ErrNoScrape
	}
	scrape := *announce
	scrape.RawPath = path[:last] + "scrape" + rest
	var err error
	if scrape.Path, err = url.PathUnescape(scrape.RawPath); err != nil {
		return nil, ErrNoScrape
	}
	return &scrape, nil
}

// parseHTTPScrape reads the dictionary of BEP 48. Like everywhere, a count of the wrong
// type counts as missing.
func parseHTTPScrape(body []byte, hashes [][20]byte) (map[[20]byte]Swarm, error) {
	d, err := parseDict(body, "files", "failure reason", "failure_reason")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errRubbish, err)
	}
	for _, key := range []string{"failure reason", "failure_reason"} { // BEP 48 spells it so once
		if reason, ok := d[key].str(); ok && len(reason) > 0 {
			return nil, refusal{reason: reach.Words(string(reason))}
		}
	}
	if d["files"] == nil {
		return nil, fmt.Errorf("%w: no files in it", errRubbish)
	}
	names := make([]string, len(hashes))
	for i, h := range hashes {
		names[i] = string(h[:])
	}
	files, err := parseDict(d["files"], names...)
	if err != nil {
		return nil, fmt.Errorf("%w: files: %w", errRubbish, err)
	}
	swarms := map[[20]byte]Swarm{}
	for i, h := range hashes {
		entry, err := parseDict(files[names[i]], "complete", "incomplete", "downloaded")
		if err != nil {
			continue // the tracker does not know it
		}
		swarms[h] = Swarm{
			Seeds:     count(entry["complete"].integer()),
			Leeches:   count(entry["incomplete"].integer()),
			Completed: count(entry["downloaded"].integer()),
		}
	}
	return swarms, nil
}

func (o *outside) scrapeUDP(ctx context.Context, f family, u *url.URL, hashes [][20]byte) (map[[20]byte]Swarm, error) {
	var question bytes.Buffer
	for _, h := range hashes {
		question.Write(h[:])
	}
	var swarms map[[20]byte]Swarm
	var session udpSession
	err := session.converse(ctx, o.net, "udp"+string(f), u, udp.ActionScrape, question.Bytes(), func(body []byte, _ netip.Addr) (err error) {
		swarms, err = parseUDPScrape(body, hashes)
		return err
	})
	return swarms, err
}

// parseUDPScrape reads the counts of BEP 15, in the order in which they were asked for.
// A torrent that the tracker does not know has counts of zero there.
func parseUDPScrape(body []byte, hashes [][20]byte) (map[[20]byte]Swarm, error) {
	swarms := map[[20]byte]Swarm{}
	r := bytes.NewReader(body)
	for _, h := range hashes {
		var entry udp.ScrapeInfohashResult
		if err := udp.Read(r, &entry); err != nil {
			return nil, fmt.Errorf("%w: %d bytes for a scrape of %d torrents", errRubbish, len(body), len(hashes))
		}
		swarms[h] = Swarm{
			Seeds:     count(int64(entry.Seeders)),
			Leeches:   count(int64(entry.Leechers)),
			Completed: count(int64(entry.Completed)),
		}
	}
	return swarms, nil
}
