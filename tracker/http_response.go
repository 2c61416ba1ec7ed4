package tracker

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"github.com/causeway-bt/causeway/tracker/internal/reach"
)

// refusal is the failure reason of a tracker that was reached.
type refusal struct {
	reason string
	retry  time.Duration // how long it wants to be left alone (BEP 31); 0: it did not say
	never  bool          // it does not want to be asked again (BEP 31)
}

func (r refusal) Error() string {
	if r.reason == "" {
		return "the tracker refused, and gave no reason"
	}
	return "the tracker refused: " + r.reason
}

var errRubbish = errors.New("the answer is not that of a tracker")

// maxRetry bounds how long a tracker may send us away with "retry in".
const maxRetry = 24 * time.Hour

// parseHTTPResponse reads the bencoded dictionary of BEP 3, with the compact peers
// of BEP 23 and BEP 7. A value of the wrong type counts as missing.
func parseHTTPResponse(body []byte) (*response, error) {
	d, err := parseDict(body, "failure reason", "retry in", "warning message", "tracker id",
		"interval", "min interval", "complete", "incomplete", "peers", "peers6", "external ip")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errRubbish, err)
	}
	if reason, ok := d["failure reason"].str(); ok && len(reason) > 0 {
		return nil, parseRefusal(string(reason), d)
	}
	warning, _ := d["warning message"].str()
	trackerID, _ := d["tracker id"].str()
	if len(trackerID) > maxTrackerID {
		trackerID = nil
	}
	r := &response{
		interval:    d["interval"].integer(),
		minInterval: d["min interval"].integer(),
		seeds:       count(d["complete"].integer()),
		leeches:     count(d["incomplete"].integer()),
		warning:     reach.Words(string(warning)),
		trackerID:   string(trackerID),
	}
	if r.interval == 0 && d["peers"] == nil && d["peers6"] == nil {
		return nil, fmt.Errorf("%w: neither peers nor an interval in it", errRubbish)
	}
	if compact, ok := d["peers"].str(); ok {
		r.peers = compactPeers(r.peers, compact, 4)
	} else {
		r.peers = verbosePeers(d["peers"])
	}
	if seen, ok := d["external ip"].str(); ok { // BEP 24
		r.seen, _ = netip.AddrFromSlice(seen)
		r.seen = r.seen.Unmap()
	}
	if compact, ok := d["peers6"].str(); ok {
		r.peers = compactPeers(r.peers, compact, 16)
	}
	return r, nil
}

// parseRefusal reads how long a tracker that refuses wants to be left alone: "retry in"
// is in minutes, or "never" (BEP 31); an interval is in seconds.
func parseRefusal(reason string, d map[string]value) refusal {
	r := refusal{reason: reach.Words(reason)}
	minutes := d["retry in"].integer()
	if s, ok := d["retry in"].str(); ok {
		r.never = string(s) == "never"
		minutes, _ = strconv.ParseInt(string(s), 10, 64) // 0 if it is none
	}
	if minutes > 0 {
		r.retry = time.Duration(min(minutes, int64(maxRetry/time.Minute))) * time.Minute
	} else if seconds := max(d["interval"].integer(), d["min interval"].integer()); seconds > 0 {
		r.retry = bound(seconds, 0)
	}
	return r
}

// verbosePeers reads the list of dictionaries of BEP 3. Host names, which it
// allows, are left out: no tracker gives them, and looking them up would be work
// that a stranger chooses.
func verbosePeers(list value) (peers []netip.AddrPort) {
	for v := range list.elements() {
		if len(peers) >= maxPeers {
			break
		}
		d, err := parseDict(v, "ip", "port")
		if err != nil {
			continue
		}
		ip, _ := d["ip"].str()
		addr, err := netip.ParseAddr(string(ip))
		port := d["port"].integer()
		if err != nil || port < 0 || port > 65535 {
			continue
		}
		peers = appendPeer(peers, addr.WithZone(""), uint16(port))
	}
	return peers
}
