package cluster

import "github.com/causeway-bt/causeway/tracker/server/table"

// call is a request that another node is to answer.
type call interface {
	slot() int
	// encode appends the request.
	encode(b []byte, id uint32) []byte
	// here has the own table answer.
	here(*table.Table)
	fail(error)
}

type announceCall struct {
	a    *table.Announce
	done func(*table.Reply, error)
}

func (c *announceCall) slot() int                         { return slotOf(&c.a.Hash) }
func (c *announceCall) encode(b []byte, id uint32) []byte { return appendAnnounce(b, id, c.a) }
func (c *announceCall) here(t *table.Table)               { t.AnnounceLater(c.a, c.done) }
func (c *announceCall) fail(err error)                    { c.done(&table.Reply{}, err) }

type webCall struct {
	a    *table.WebAnnounce
	done func(*table.WebReply, error)
}

func (c *webCall) slot() int                         { return slotOf(&c.a.Hash) }
func (c *webCall) encode(b []byte, id uint32) []byte { return appendWeb(b, id, c.a) }
func (c *webCall) here(t *table.Table)               { t.AnnounceWebLater(c.a, c.done) }
func (c *webCall) fail(err error)                    { c.done(&table.WebReply{}, err) }

type answerCall struct {
	a    *table.Answer
	done func(table.Handle, error)
}

func (c *answerCall) slot() int                         { return slotOf(&c.a.Hash) }
func (c *answerCall) encode(b []byte, id uint32) []byte { return appendAnswer(b, id, c.a) }
func (c *answerCall) here(t *table.Table)               { t.AnswerLater(c.a, c.done) }
func (c *answerCall) fail(err error)                    { c.done(0, err) }

type scrapeCall struct {
	h    table.Hash
	done func(table.Counts, error)
}

func (c *scrapeCall) slot() int                         { return slotOf(&c.h) }
func (c *scrapeCall) encode(b []byte, id uint32) []byte { return appendScrape(b, id, &c.h) }
func (c *scrapeCall) here(t *table.Table)               { t.ScrapeLater(c.h, c.done) }
func (c *scrapeCall) fail(err error)                    { c.done(table.Counts{}, err) }
