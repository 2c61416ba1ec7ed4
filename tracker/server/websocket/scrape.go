package websocket

import (
	"errors"
	"sync"

	"github.com/causeway-bt/causeway/tracker/server/table"
	"github.com/causeway-bt/causeway/tracker/server/websocket/socket"
)

// scrape answers how many peers torrents have. A torrent that is not served has none.
func (p *peer) scrape(b *socket.Batch, m *message) {
	s := p.server
	s.scrapes.Add(1)
	hashes := m.hashes
	counts := make([]table.Counts, len(hashes))
	var elsewhere []int
	for i := range hashes {
		var err error
		if counts[i], err = s.config.Swarms.Scrape(hashes[i]); errors.Is(err, table.ErrElsewhere) {
			elsewhere = append(elsewhere, i)
		}
	}
	if len(elsewhere) == 0 {
		p.say(b, func(to []byte) []byte { return appendScrape(to, hashes, counts, s.config.ScrapeInterval) })
		return
	}
	hashes = append([]table.Hash(nil), hashes...)
	var mu sync.Mutex
	missing := len(elsewhere)
	for _, i := range elsewhere {
		s.config.Swarms.ScrapeLater(hashes[i], func(c table.Counts, _ error) { // zeros if it fails
			mu.Lock()
			counts[i] = c
			missing--
			whole := missing == 0
			mu.Unlock()
			if whole {
				p.say(nil, func(to []byte) []byte { return appendScrape(to, hashes, counts, s.config.ScrapeInterval) })
			}
		})
	}
}
