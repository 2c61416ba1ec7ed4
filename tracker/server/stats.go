package server

import (
	"context"
	"encoding/hex"
	"log/slog"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/causeway-bt/causeway/tracker/server/table"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Front counts what one front end has done.
type Front struct {
	Connects  atomic.Int64 // UDP: connection ids given; WebSocket: sockets opened
	Announces atomic.Int64
	Scrapes   atomic.Int64
	Refused   atomic.Int64 // announces that were refused
	Malformed atomic.Int64 // requests that could not be read
	Offers    atomic.Int64 // WebSocket: passed on
	Answers   atomic.Int64 // WebSocket: passed on
}

// Stats counts what a Server does. Front ends of other packages count in WebSocket.
type Stats struct {
	HTTP, UDP, WebSocket Front

	s        *Server
	registry *prometheus.Registry
	start    time.Time

	// Rates of the last seconds, for people.
	rates [3]rate
}

// rate is how many a second there were lately.
type rate struct {
	last     int64
	smoothed atomic.Int64 // thousandths a second
}

// rateWeight is how slowly a shown rate follows: a time constant of about ten seconds.
const rateWeight = 10

func (r *rate) tick(total int64) {
	r.smoothed.Add(((total-r.last)*1000 - r.smoothed.Load()) / rateWeight)
	r.last = total
}

func newStats(s *Server) *Stats {
	st := &Stats{s: s, start: time.Now(), registry: prometheus.NewRegistry()}
	st.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	counter := func(name, help, front string, n *atomic.Int64) {
		st.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Namespace: "causeway_tracker", Name: name, Help: help, ConstLabels: prometheus.Labels{"front": front},
		}, func() float64 { return float64(n.Load()) }))
	}
	for _, f := range st.fronts() {
		counter("connects_total", "UDP connection ids given, WebSockets opened.", f.name, &f.Connects)
		counter("announces_total", "Announces.", f.name, &f.Announces)
		counter("scrapes_total", "Scrapes.", f.name, &f.Scrapes)
		counter("refused_total", "Announces that were refused.", f.name, &f.Refused)
		counter("malformed_total", "Requests that could not be read.", f.name, &f.Malformed)
	}
	counter("offers_total", "Offers passed on.", "websocket", &st.WebSocket.Offers)
	counter("answers_total", "Answers passed on.", "websocket", &st.WebSocket.Answers)
	gauge := func(name, help string, labels prometheus.Labels, value func() int64) {
		st.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "causeway_tracker", Name: name, Help: help, ConstLabels: labels,
		}, func() float64 { return float64(value()) }))
	}
	gauge("swarms", "Torrents with at least one peer.", nil, func() int64 { return s.table.Size().Swarms })
	gauge("peers", "Peers.", prometheus.Labels{"kind": "ipv4"}, func() int64 { return s.table.Size().Peers4 })
	gauge("peers", "Peers.", prometheus.Labels{"kind": "ipv6"}, func() int64 { return s.table.Size().Peers6 })
	gauge("peers", "Peers.", prometheus.Labels{"kind": "web"}, func() int64 { return s.table.Size().PeersWeb })
	gauge("connections", "Open TCP connections, WebSockets among them.", nil, s.openConnections)
	gauge("websockets", "Open WebSockets.", nil, s.openWebSockets)
	return st
}

func (s *Server) openConnections() int64 { return s.conns.open() + s.openWebSockets() }

func (s *Server) openWebSockets() int64 {
	if s.cfg.WebSockets == nil {
		return 0
	}
	return int64(s.cfg.WebSockets())
}

type namedFront struct {
	name string
	*Front
}

func (st *Stats) fronts() [3]namedFront {
	return [3]namedFront{{"http", &st.HTTP}, {"udp", &st.UDP}, {"websocket", &st.WebSocket}}
}

func (st *Stats) tick() {
	for i, f := range st.fronts() {
		st.rates[i].tick(f.Announces.Load())
	}
}

// Stats returns the counters, which front ends of other packages add to.
func (s *Server) Stats() *Stats { return s.stats }

// Registry is where /metrics comes from; front ends of other packages can add to it.
func (st *Stats) Registry() *prometheus.Registry { return st.registry }

func (st *Stats) handler() http.Handler {
	return promhttp.HandlerFor(st.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// logAnnounce writes an announce to the access log, which must be there. url is what a
// UDP peer sent of one (BEP 41).
func (s *Server) logAnnounce(front string, a *table.Announce, url []byte, err error) {
	if s.cfg.AccessLog == nil {
		return
	}
	attrs := []slog.Attr{
		slog.String("front", front),
		slog.String("addr", a.Addr.String()),
		slog.String("info_hash", hex.EncodeToString(a.Hash[:])),
		slog.String("peer_id", hex.EncodeToString(a.ID[:])),
		slog.String("event", a.Event.String()),
		slog.String("state", a.State.String()),
	}
	if len(url) > 0 {
		attrs = append(attrs, slog.String("url", string(url)))
	}
	if err != nil {
		attrs = append(attrs, slog.String("refused", err.Error()))
	}
	s.cfg.AccessLog.LogAttrs(context.Background(), slog.LevelInfo, "announce", attrs...)
}

// logScrape writes a scrape to the access log.
func (s *Server) logScrape(front string, addr netip.Addr, hashes int) {
	if s.cfg.AccessLog != nil {
		s.cfg.AccessLog.Info("scrape", "front", front, "addr", addr.String(), "hashes", hashes)
	}
}
