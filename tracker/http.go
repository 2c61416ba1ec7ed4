package tracker

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/causeway-bt/causeway/tracker/internal/reach"
)

// maxBody bounds the answer of an HTTP tracker: room for far more than maxPeers in
// the verbose form, or for a page of HTML that explains an error.
const maxBody = 2 << 20

// statusError is an answer with a status other than 200.
type statusError struct {
	status string
	retry  time.Duration // what Retry-After says (RFC 9110, section 10.2.3); 0: nothing
}

func (e statusError) Error() string { return "HTTP status " + e.status }

// announceHTTP does not use the client of anacrolix/torrent's tracker package because
// that reads bodies without limit, accepts any TLS certificate, panics on peer lists
// of the wrong types, and neither sends numwant nor reads the minimum interval.
func (a *Announcer) announceHTTP(ctx context.Context, u *url.URL, rt *route, r request) (*response, error) {
	announce := *u
	announce.RawQuery = announceQuery(u.RawQuery, rt.trackerID, r)
	body, speaker, err := a.fetch(ctx, rt.family, &announce, func(body []byte) error {
		_, err := parseHTTPResponse(body)
		return err
	})
	rt.reached = rt.reached || speaker.IsValid()
	if err != nil {
		return nil, err
	}
	resp, err := parseHTTPResponse(body)
	if err != nil {
		return nil, err
	}
	if resp.trackerID != "" {
		rt.trackerID = resp.trackerID
	}
	resp.speaker = speaker
	return resp, nil
}

// outside is how trackers are reached.
type outside struct {
	net       Network
	log       *slog.Logger
	userAgent string
	trip      http.RoundTripper // for tests: stands in for the network
	onDate    func(theirs, ours time.Time)
}

// fetch gets the body of an HTTP tracker's answer, and who was connected to last. Of an answer with
// an error status, check may find a refusal in the body, as some trackers put it
// there; it says more than the status.
func (o *outside) fetch(ctx context.Context, f family, u *url.URL, check func([]byte) error) ([]byte, netip.Addr, error) {
	visit := reach.NewVisit(ctx, o.net, o.log, "tcp"+string(f))
	defer visit.Close()
	client := visit.Client()
	if o.trip != nil {
		client.Transport = o.trip
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, netip.Addr{}, err
	}
	if o.userAgent != "" {
		req.Header.Set("User-Agent", o.userAgent)
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, visit.Speaker(), inWords(ctx, err)
	}
	defer res.Body.Close()
	if o.onDate != nil {
		if date, err := http.ParseTime(res.Header.Get("Date")); err == nil {
			o.onDate(date, time.Now())
		}
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody+1))
	if err != nil {
		return nil, visit.Speaker(), inWords(ctx, err)
	}
	if len(body) > maxBody {
		return nil, visit.Speaker(), fmt.Errorf("the answer is larger than %d bytes", maxBody)
	}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		var refused refusal
		if err := check(body); errors.As(err, &refused) {
			return nil, visit.Speaker(), err
		}
		seconds, _ := strconv.ParseInt(res.Header.Get("Retry-After"), 10, 64) // 0 if it is a date
		return nil, visit.Speaker(), statusError{reach.Words(res.Status), bound(seconds, 0)}
	}
	return body, visit.Speaker(), nil
}

// inWords prefers why ctx ended, if it did, over what came of that.
func inWords(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return reach.Explain(err)
}

// announceQuery appends the parameters of BEP 3 to a tracker's own, which stay in
// front because private trackers keep their passkey there.
func announceQuery(own, trackerID string, r request) string {
	q := []string{
		"info_hash", string(r.infoHash[:]),
		"peer_id", string(r.peerID[:]),
		"port", strconv.Itoa(int(r.port)),
		"uploaded", strconv.FormatInt(r.Uploaded, 10),
		"downloaded", strconv.FormatInt(r.Downloaded, 10),
		"left", strconv.FormatInt(r.Left, 10),
		"compact", "1",
		"no_peer_id", "1",
		"numwant", strconv.Itoa(r.numWant),
		"key", hex.EncodeToString([]byte{byte(r.key >> 24), byte(r.key >> 16), byte(r.key >> 8), byte(r.key)}),
	}
	if r.event != eventNone {
		q = append(q, "event", r.event.String())
	}
	if r.other.Is4() { // BEP 7
		q = append(q, "ipv4", r.other.String())
	} else if r.other.Is6() {
		q = append(q, "ipv6", r.other.String())
	}
	if trackerID != "" {
		q = append(q, "trackerid", trackerID)
	}
	return appendQuery(own, q...)
}

// appendQuery appends keys and values to a query.
func appendQuery(own string, q ...string) string {
	var b strings.Builder
	b.WriteString(own)
	for i := 0; i < len(q); i += 2 {
		if b.Len() > 0 {
			b.WriteByte('&')
		}
		b.WriteString(q[i])
		b.WriteByte('=')
		// Trackers that decode by hand know %20 but not "+".
		b.WriteString(strings.ReplaceAll(url.QueryEscape(q[i+1]), "+", "%20"))
	}
	return b.String()
}
