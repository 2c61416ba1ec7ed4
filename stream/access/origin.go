package access

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// AnyOrigin is the origin that stands for all of them.
const AnyOrigin = "*"

// Origins are the web origins whose pages are answered beside the server's own
// (RFC 6454; Fetch standard §3.2). The zero value has none.
type Origins struct {
	any   bool
	named map[string]bool
}

// ParseOrigins reads origins as a browser sends them: https://site.example, with a port
// unless it is the scheme's usual one; "null", which is the origin of a file's page; or
// AnyOrigin.
func ParseOrigins(list []string) (Origins, error) {
	o := Origins{named: make(map[string]bool)}
	for _, text := range list {
		switch text {
		case AnyOrigin:
			o.any = true
			continue
		case "null":
			o.named[text] = true
			continue
		}
		u, err := url.Parse(text)
		if err != nil || u.Scheme == "" || u.Host == "" || strings.Trim(u.Path, "/") != "" ||
			u.RawQuery != "" || u.Fragment != "" || u.User != nil {
			return Origins{}, fmt.Errorf("%q is no origin of web pages; give SCHEME://HOST or SCHEME://HOST:PORT, such as https://site.example", text)
		}
		o.named[originOf(u)] = true
	}
	return o, nil
}

// originOf is a URL's origin as browsers write it.
func originOf(u *url.URL) string {
	scheme, host := strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	switch {
	case scheme == "http":
		host = strings.TrimSuffix(host, ":80")
	case scheme == "https":
		host = strings.TrimSuffix(host, ":443")
	}
	return scheme + "://" + host
}

// Any reports whether AnyOrigin is among them.
func (o Origins) Any() bool { return o.any }

// Caller is what a browser says of who makes a request.
type Caller int

// The callers that are told apart.
const (
	// OwnCaller is a program that is no browser, a person who typed the address, or
	// one of the server's own pages.
	OwnCaller Caller = iota
	// NamedCaller is a page of an origin that was named.
	NamedCaller
	// FollowedLink is a person who followed a link from a page of another origin: the
	// answer is shown in place of that page, which cannot read it.
	FollowedLink
	// ForeignNavigation is a page of another origin that opens the answer in a window
	// without anybody having asked for that.
	ForeignNavigation
	// ForeignPage is a page of another origin that fetches, embeds or frames.
	ForeignPage
)

// Caller tells who makes a request. Pages can neither forge nor drop the headers that it
// goes by: Origin, which comes with what scripts fetch across origins, and Sec-Fetch-Site
// (Fetch Metadata), which comes with everything that a browser asks of a loopback address
// or by https.
func (o Origins) Caller(r *http.Request) Caller {
	site, origin := r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Origin")
	switch {
	case site == "same-origin":
		return OwnCaller
	case origin != "":
		return o.byOrigin(r, origin)
	case site == "" || site == "none":
		return OwnCaller
	case o.byReferer(r):
		return NamedCaller
	case r.Header.Get("Sec-Fetch-Mode") != "navigate" || r.Header.Get("Sec-Fetch-Dest") != "document":
		return ForeignPage
	case r.Header.Get("Sec-Fetch-User") == "?1":
		return FollowedLink
	default:
		return ForeignNavigation
	}
}

func (o Origins) byOrigin(r *http.Request, origin string) Caller {
	own := "http://" + r.Host
	if r.TLS != nil {
		own = "https://" + r.Host
	}
	switch {
	case strings.EqualFold(origin, own):
		return OwnCaller
	case o.named[origin]:
		return NamedCaller
	default:
		return ForeignPage
	}
}

// byReferer knows named pages that embed a file without CORS, as <video src> does: no
// Origin comes with that. Pages can leave out a Referer, and cannot forge one.
func (o Origins) byReferer(r *http.Request) bool {
	u, err := url.Parse(r.Referer())
	return err == nil && u.Host != "" && o.named[originOf(u)]
}
