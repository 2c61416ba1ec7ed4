package ws

import (
	"context"
	"fmt"

	"github.com/causeway-bt/causeway/tracker/internal/reach"
)

// maxScrape bounds the torrents of one scrape; trackers take 50 and more.
const maxScrape = 50

// Swarm is what a tracker counts of one torrent.
type Swarm struct {
	Seeds, Leeches, Downloads int
}

// scrape is a question that waits for its answer.
type scrape struct{ result chan scrapeResult }

type scrapeResult struct {
	files map[ID]scrapeEntry
	err   error
}

func (s *scrape) fail(err error) { s.result <- scrapeResult{err: err} } // has room for one

// Scrape asks the tracker at rawURL for the counts of up to 50 torrents; those
// that it does not know are absent. It uses the connection that torrents share,
// or makes one. Errors are in words.
func (m *Manager) Scrape(ctx context.Context, rawURL string, hashes ...ID) (map[ID]Swarm, error) {
	if len(hashes) == 0 || len(hashes) > maxScrape {
		return nil, fmt.Errorf("tracker/ws: scrape of %d torrents, want 1 to %d", len(hashes), maxScrape)
	}
	key, err := normalize(rawURL)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	s, err := m.socket(key)
	m.mu.Unlock()
	if err != nil {
		return nil, err
	}
	defer m.release(s)
	select { // one at a time: answers carry no id
	case s.scraping <- struct{}{}:
		defer func() { <-s.scraping }()
	case <-ctx.Done():
		return nil, reach.Explain(ctx.Err())
	}
	l, err := s.awaitLink(ctx)
	if err != nil {
		return nil, err
	}
	question := &scrape{result: make(chan scrapeResult, 1)}
	s.mu.Lock()
	s.scrape = question
	s.mu.Unlock()
	defer s.forget(question)
	if err := s.send(ctx, l, scrapeMessage{Action: actionScrape, InfoHash: hashes}); err != nil {
		return nil, err
	}
	select {
	case answer := <-question.result:
		return swarms(hashes, answer.files), answer.err
	case <-ctx.Done():
		return nil, reach.Explain(ctx.Err())
	case <-s.ctx.Done():
		return nil, ErrClosed
	}
}

func swarms(hashes []ID, files map[ID]scrapeEntry) map[ID]Swarm {
	counts := map[ID]Swarm{}
	for _, hash := range hashes {
		if entry, ok := files[hash]; ok {
			counts[hash] = Swarm{count(entry.Complete), count(entry.Incomplete), count(entry.Downloaded)}
		}
	}
	return counts
}

func (s *socket) scraped(m message) { s.endScrape(m.Files, nil) }

func (s *socket) endScrape(files map[ID]scrapeEntry, err error) {
	s.mu.Lock()
	question := s.scrape
	s.scrape = nil
	s.mu.Unlock()
	if question != nil {
		question.result <- scrapeResult{files: files, err: err}
	}
}

func (s *socket) forget(question *scrape) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.scrape == question {
		s.scrape = nil
	}
}
