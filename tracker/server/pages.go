package server

import (
	_ "embed"
	"encoding/json"
	"html/template"
	"net/http"
	"strconv"
	"time"
)

// Summary is what /stats.json tells and /stats shows.
type Summary struct {
	Uptime      int64                   `json:"uptime"` // seconds
	Swarms      int64                   `json:"swarms"`
	Peers       SummaryPeers            `json:"peers"`
	Connections int64                   `json:"connections"` // open TCP connections
	Fronts      map[string]SummaryFront `json:"fronts"`      // http, udp, websocket
}

// SummaryPeers are numbers of peers, by the way they announce.
type SummaryPeers struct {
	IPv4 int64 `json:"ipv4"`
	IPv6 int64 `json:"ipv6"`
	Web  int64 `json:"web"`
}

// SummaryFront is what a front end has done since the start.
type SummaryFront struct {
	Announces int64   `json:"announces"`
	Rate      float64 `json:"announces_per_second"` // of the last seconds
	Scrapes   int64   `json:"scrapes"`
	Refused   int64   `json:"refused"`
	Malformed int64   `json:"malformed"`
	Offers    int64   `json:"offers,omitempty"`
	Answers   int64   `json:"answers,omitempty"`
}

// Summary tells what is in the table, and what was done.
func (s *Server) Summary() Summary {
	size := s.table.Size()
	sum := Summary{
		Uptime: int64(time.Since(s.stats.start) / time.Second), Swarms: size.Swarms,
		Peers:       SummaryPeers{size.Peers4, size.Peers6, size.PeersWeb},
		Connections: s.openConnections(), Fronts: make(map[string]SummaryFront),
	}
	for i, f := range s.stats.fronts() {
		sum.Fronts[f.name] = SummaryFront{
			Announces: f.Announces.Load(), Rate: float64(s.stats.rates[i].smoothed.Load()) / 1000,
			Scrapes: f.Scrapes.Load(), Refused: f.Refused.Load(), Malformed: f.Malformed.Load(),
			Offers: f.Offers.Load(), Answers: f.Answers.Load(),
		}
	}
	return sum
}

func (s *Server) statsJSON(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(s.Summary())
}

//go:embed stats.html
var statsHTML string

var statsTemplate = template.Must(template.New("stats").Funcs(template.FuncMap{
	"n":    thousands,
	"rate": func(r float64) string { return strconv.FormatFloat(r, 'f', 1, 64) },
	"span": func(seconds int64) string { return (time.Duration(seconds) * time.Second).String() },
}).Parse(statsHTML))

// thousands writes a number with a narrow space between groups of three digits.
func thousands(n int64) string {
	b := strconv.FormatInt(n, 10)
	for i := len(b) - 3; i > 0; i -= 3 {
		b = b[:i] + "\u202f" + b[i:]
	}
	return b
}

func (s *Server) statsPage(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	h.Set("X-Content-Type-Options", "nosniff")
	_ = statsTemplate.Execute(w, s.Summary())
}
