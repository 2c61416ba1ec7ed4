package server

import (
	"bytes"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/causeway-bt/causeway/tracker/server/table"
)

// request is an announce or scrape over HTTP, however it was read, and room for
// what answers it. They are kept for further use.
type request struct {
	query   query
	reply   table.Reply
	body    []byte
	remote  netip.Addr // the peer's, behind trusted proxies
	trusted bool       // remote may announce for others
}

var requests = sync.Pool{New: func() any { return new(request) }}

// requestKeep is how large a request's buffers may be to be kept.
const requestKeep = 64 << 10

func newRequest() *request {
	r := requests.Get().(*request)
	r.query = query{hashes: r.query.hashes[:0]}
	r.reply = table.Reply{Peers4: r.reply.Peers4[:0], Peers6: r.reply.Peers6[:0]}
	r.body = r.body[:0]
	return r
}

func (r *request) free() {
	if cap(r.body) <= requestKeep {
		requests.Put(r)
	}
}

// answer writes the reply to an announce or scrape into r.body. path decides which it is.
func (s *Server) answer(r *request, scrape bool, rawQuery []byte) {
	err := parseQuery(rawQuery, &r.query, scrape)
	switch {
	case err != nil:
		s.stats.HTTP.Malformed.Add(1)
		r.fail(err)
	case scrape:
		s.httpScrape(r)
	default:
		s.httpAnnounce(r)
	}
}

func (s *Server) httpAnnounce(r *request) {
	s.stats.HTTP.Announces.Add(1)
	q := &r.query
	addr := r.remote
	if r.trusted && q.ip.IsValid() {
		addr = q.ip
	}
	q.Addr = netip.AddrPortFrom(addr.Unmap().WithZone(""), uint16(q.port))
	q.NumWant = s.numWant(q.NumWant)
	q.Both = true
	err := s.swarms.Announce(&q.Announce, &r.reply)
	if errors.Is(err, table.ErrElsewhere) {
		err = s.announceElsewhere(r)
	}
	if s.cfg.AccessLog != nil {
		s.logAnnounce("http", &q.Announce, nil, err)
	}
	if err != nil {
		s.stats.HTTP.Refused.Add(1)
		r.fail(err)
		return
	}
	r.writeAnnounce(s.interval(), min(s.cfg.MinInterval, s.cfg.Interval))
}

// announceElsewhere asks another node and waits.
func (s *Server) announceElsewhere(r *request) error {
	a := r.query.Announce
	type result struct {
		reply *table.Reply
		err   error
	}
	got := make(chan result, 1)
	s.swarms.AnnounceLater(&a, func(reply *table.Reply, err error) { got <- result{reply, err} })
	res := <-got
	if res.err == nil {
		r.reply = *res.reply
	}
	return res.err
}

// fail writes why a request is refused (BEP 3, BEP 31).
func (r *request) fail(err error) {
	b := append(r.body[:0], "d14:failure reason"...)
	b = appendString(b, err.Error())
	var refusal *table.Refusal
	if errors.As(err, &refusal) {
		switch {
		case refusal.RetryIn == table.Never:
			b = append(b, "8:retry in5:never"...)
		case refusal.RetryIn > 0:
			b = appendInt(append(b, "8:retry in"...), int64((refusal.RetryIn+time.Minute-1)/time.Minute))
		}
	}
	r.body = append(b, 'e')
}

// writeAnnounce writes the reply to an announce: keys in order, as bencode wants them.
func (r *request) writeAnnounce(interval, least time.Duration) {
	q := &r.query
	b := append(r.body[:0], "d8:complete"...)
	b = appendInt(b, int64(r.reply.Complete))
	b = appendInt(append(b, "10:downloaded"...), int64(r.reply.Downloaded))
	b = append(b, "11:external ip"...) // BEP 24
	if ip := q.Addr.Addr(); ip.Is4() {
		ip4 := ip.As4()
		b = append(append(b, "4:"...), ip4[:]...)
	} else {
		ip16 := ip.As16()
		b = append(append(b, "16:"...), ip16[:]...)
	}
	b = appendInt(append(b, "10:incomplete"...), int64(r.reply.Incomplete))
	b = appendInt(append(b, "8:interval"...), int64(interval/time.Second))
	b = appendInt(append(b, "12:min interval"...), int64(least/time.Second))
	b = append(b, "5:peers"...)
	if q.dict {
		b = append(b, 'l')
		b = appendPeers(b, r.reply.Peers4, 6)
		b = appendPeers(b, r.reply.Peers6, 18)
		r.body = append(b, "ee"...)
		return
	}
	b = appendBytes(b, r.reply.Peers4)
	if len(r.reply.Peers6) > 0 {
		b = appendBytes(append(b, "6:peers6"...), r.reply.Peers6) // BEP 7
	}
	r.body = append(b, 'e')
}

// appendPeers writes compact peers as dictionaries: without their ids, which the table
// does not keep, as if all had asked for no_peer_id=1.
func appendPeers(b, peers []byte, size int) []byte {
	for i := 0; (i+1)*size <= len(peers); i++ {
		p := peers[i*size : (i+1)*size]
		ip, _ := netip.AddrFromSlice(p[:size-2])
		b = appendString(append(b, "d2:ip"...), ip.String())
		b = appendInt(append(b, "4:port"...), int64(p[size-2])<<8|int64(p[size-1]))
		b = append(b, 'e')
	}
	return b
}

// httpScrape writes the reply to a scrape (BEP 48). The counts of all torrents at once are
// not to be had.
func (s *Server) httpScrape(r *request) {
	q := &r.query
	if len(q.hashes) == 0 {
		s.stats.HTTP.Malformed.Add(1)
		r.fail(errNoHash)
		return
	}
	s.stats.HTTP.Scrapes.Add(1)
	s.logScrape("http", r.remote, len(q.hashes))
	slices.SortFunc(q.hashes, func(a, b table.Hash) int { return bytes.Compare(a[:], b[:]) })
	q.hashes = slices.Compact(q.hashes)
	b := append(r.body[:0], "d5:filesd"...)
	for i, c := range s.scrapeNow(q.hashes) {
		b = appendBytes(b, q.hashes[i][:])
		b = appendInt(append(b, "d8:complete"...), int64(c.Complete))
		b = appendInt(append(b, "10:downloaded"...), int64(c.Downloaded))
		b = appendInt(append(b, "11:downloaders"...), int64(c.Downloaders)) // BEP 21
		b = appendInt(append(b, "10:incomplete"...), int64(c.Incomplete))
		b = append(b, 'e')
	}
	b = append(b, "e5:flagsd20:min_request_interval"...)
	b = appendInt(b, int64(min(s.cfg.MinInterval, s.cfg.Interval)/time.Second))
	r.body = append(b, "ee"...)
}

func appendInt(b []byte, n int64) []byte {
	return append(strconv.AppendInt(append(b, 'i'), n, 10), 'e')
}

func appendBytes(b, v []byte) []byte {
	return append(append(strconv.AppendInt(b, int64(len(v)), 10), ':'), v...)
}

func appendString(b []byte, v string) []byte {
	return append(append(strconv.AppendInt(b, int64(len(v)), 10), ':'), v...)
}

// routes are the pages beside announces and scrapes.
func (s *Server) routes() {
	s.mux = http.NewServeMux()
	s.mux.HandleFunc("GET /stats", s.statsPage)
	s.mux.HandleFunc("GET /stats.json", s.statsJSON)
	s.mux.Handle("GET /metrics", s.stats.handler())
	s.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("ok\n"))
	})
	if s.cfg.WebSocket != nil {
		s.ws = s.cfg.WebSocket(s)
	}
	if s.cfg.PeerJS != nil {
		h := s.cfg.PeerJS(s)
		s.mux.Handle("/peerjs", h)
		s.mux.Handle("/peerjs/", h)
	}
}

// ServeHTTP answers announces and scrapes at any path that ends in /announce or
// /scrape, WebSocket upgrades there and at /, and the other pages.
func (s *Server) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	ours, scrape := place(req.URL.Path)
	if s.ws != nil && (ours || req.URL.Path == "/") && isUpgrade(req.Header) {
		s.ws.ServeHTTP(w, req)
		return
	}
	if !ours {
		s.mux.ServeHTTP(w, req)
		return
	}
	if s.cfg.NoHTTP {
		http.Error(w, "no announces over HTTP here", http.StatusNotFound)
		return
	}
	if req.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		http.Error(w, "only GET", http.StatusMethodNotAllowed)
		return
	}
	r := newRequest()
	defer r.free()
	r.remote, r.trusted = s.RemoteAddr(req)
	if !r.remote.IsValid() {
		http.Error(w, "no address", http.StatusBadRequest)
		return
	}
	s.answer(r, scrape, []byte(req.URL.RawQuery))
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("Content-Length", strconv.Itoa(len(r.body)))
	_, _ = w.Write(r.body)
}

// place says whether a path is one of announces or scrapes.
func place[T string | []byte](path T) (ours, scrape bool) {
	const a, s = "/announce", "/scrape"
	if n := len(path) - len(a); n >= 0 && string(path[n:]) == a {
		return true, false
	}
	n := len(path) - len(s)
	return n >= 0 && string(path[n:]) == s, true
}

func isUpgrade(h http.Header) bool { return strings.EqualFold(h.Get("Upgrade"), "websocket") }

// RemoteAddr is the address of a request's sender: behind proxies that are trusted, the last
// address of X-Forwarded-For that is none of theirs. trusted says whether it is itself in
// a network that is. The zero Addr: it cannot be told.
func (s *Server) RemoteAddr(req *http.Request) (addr netip.Addr, trusted bool) {
	ap, err := netip.ParseAddrPort(req.RemoteAddr)
	if err != nil {
		return netip.Addr{}, false
	}
	return s.behind(ap.Addr(), strings.Join(req.Header.Values("X-Forwarded-For"), ","))
}

// behind is whom a connection's address speaks for.
func (s *Server) behind(addr netip.Addr, forwarded string) (_ netip.Addr, trusted bool) {
	addr = addr.Unmap().WithZone("")
	if !s.trusted(addr) {
		return addr, false
	}
	if next, ok := s.forwarded([]byte(forwarded)); ok {
		return next, false
	}
	return addr, true
}

// forwarded returns the last address of an X-Forwarded-For that no trusted proxy has.
func (s *Server) forwarded(field []byte) (netip.Addr, bool) {
	for len(field) > 0 {
		i := bytes.LastIndexByte(field, ',')
		word := bytes.TrimSpace(field[i+1:])
		field = field[:max(i, 0)]
		addr, err := netip.ParseAddr(string(word))
		if err != nil {
			ap, err := netip.ParseAddrPort(string(word)) // some proxies write the port, too
			if err != nil {
				return netip.Addr{}, false
			}
			addr = ap.Addr()
		}
		if addr = addr.Unmap().WithZone(""); !s.trusted(addr) {
			return addr, true
		}
	}
	return netip.Addr{}, false
}

func (s *Server) trusted(addr netip.Addr) bool {
	for _, p := range s.cfg.TrustProxy {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
