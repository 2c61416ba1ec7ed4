package tracker

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	// maxBody bounds the answer of an HTTP tracker: room for far more than maxPeers
	// in the verbose form, or for a page of HTML that explains an error.
	maxBody = 2 << 20
	// maxRedirects is what a tracker that has moved could need.
	maxRedirects = 5
	// httpPhaseTimeout bounds connecting and the TLS handshake each, so that an
	// unreachable tracker fails early.
	httpPhaseTimeout = 10 * time.Second
	// maxResponseHeader bounds the header of an answer, in bytes.
	maxResponseHeader = 64 << 10
)

// newHTTPClient returns the default client. The one of anacrolix/torrent's tracker
// package is not used because it reads bodies without limit, accepts any TLS
// certificate, panics on peer lists of the wrong types, and neither sends
// numwant nor reads the minimum interval.
func newHTTPClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: httpPhaseTimeout}).DialContext,
			TLSHandshakeTimeout:    httpPhaseTimeout,
			MaxResponseHeaderBytes: maxResponseHeader,
			// Announces are minutes apart; no connection is worth keeping.
			DisableKeepAlives: true,
		},
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects {
				return fmt.Errorf("more than %d redirects", maxRedirects)
			}
			return nil
		},
	}
}

func (a *Announcer) announceHTTP(ctx context.Context, u *url.URL, tr *trackerState, r request) (*response, error) {
	u.RawQuery = announceQuery(u.RawQuery, tr.trackerID, r)
	u.Fragment = ""
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("not a tracker URL: %w", err)
	}
	if a.cfg.UserAgent != "" {
		req.Header.Set("User-Agent", a.cfg.UserAgent)
	}
	res, err := a.http.Do(req)
	if err != nil {
		return nil, withoutURL(ctx, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody+1))
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", withoutURL(ctx, err))
	}
	if len(body) > maxBody {
		return nil, fmt.Errorf("the answer is larger than %d bytes", maxBody)
	}
	resp, err := parseHTTPResponse(body)
	var refused refusal
	if res.StatusCode != http.StatusOK && !errors.As(err, &refused) {
		// Some trackers put a failure reason below an HTTP error; that says more.
		return nil, fmt.Errorf("HTTP status %s", message(res.Status))
	}
	if err == nil && resp.trackerID != "" {
		tr.trackerID = resp.trackerID
	}
	return resp, err
}

// withoutURL takes the URL out of an http.Client's error: it is long, holds the
// announce's parameters, and is known to whoever reads the status.
func withoutURL(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
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
	if trackerID != "" {
		q = append(q, "trackerid", trackerID)
	}
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
