package tracker

import (
	"errors"
	"fmt"
	"net/netip"
)

// refusal is the failure reason of a tracker that was reached.
type refusal string

func (r refusal) Error() string { return "the tracker refused: " + string(r) }

var errRubbish = errors.New("the answer is not that of a tracker")

// parseHTTPResponse reads the bencoded dictionary of BEP 3, with the compact peers
// of BEP 23 and BEP 7. A value of the wrong type counts as missing.
func parseHTTPResponse(body []byte) (*response, error) {
	d, err := parseDict(body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errRubbish, err)
	}
	if reason, ok := d["failure reason"].str(); ok {
		return nil, refusal(message(string(reason)))
	}
	warning, _ := d["warning message"].str()
	trackerID, _ := d["tracker id"].str()
	if len(trackerID) > maxMessage {
		trackerID = nil
	}
	r := &response{
		interval:    d["interval"].integer(),
		minInterval: d["min interval"].integer(),
		seeds:       count(d["complete"].integer()),
		leeches:     count(d["incomplete"].integer()),
		warning:     message(string(warning)),
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
	if compact, ok := d["peers6"].str(); ok {
		r.peers = compactPeers(r.peers, compact, 16)
	}
	return r, nil
}

// verbosePeers reads the list of dictionaries of BEP 3. Host names, which it
// allows, are left out: no tracker gives them, and looking them up would be work
// that a stranger chooses.
func verbosePeers(list value) (peers []netip.AddrPort) {
	for v := range list.elements() {
		if len(peers) >= maxPeers {
			break
		}
		d, err := parseDict(v)
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
