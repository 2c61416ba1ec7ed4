package server

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/causeway-bt/causeway/tracker/server/table"
)

// scrapeAll asks for the counts of swarms wherever they are, and calls done once
// all are there. One that is refused has zeros.
func (s *Server) scrapeAll(hashes []table.Hash, done func([]table.Counts)) {
	counts := make([]table.Counts, len(hashes))
	var left atomic.Int64
	left.Store(int64(len(hashes)) + 1)
	one := func() {
		if left.Add(-1) == 0 {
			done(counts)
		}
	}
	for i, h := range hashes {
		c, err := s.swarms.Scrape(h)
		if !errors.Is(err, table.ErrElsewhere) {
			counts[i] = c
			one()
			continue
		}
		s.swarms.ScrapeLater(h, func(c table.Counts, _ error) {
			counts[i] = c
			one()
		})
	}
	one()
}

// scrapeNow is scrapeAll for those who wait.
func (s *Server) scrapeNow(hashes []table.Hash) (counts []table.Counts) {
	var wg sync.WaitGroup
	wg.Add(1)
	s.scrapeAll(hashes, func(c []table.Counts) {
		counts = c
		wg.Done()
	})
	wg.Wait()
	return counts
}
