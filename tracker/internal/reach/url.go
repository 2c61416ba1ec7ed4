package reach

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"unicode"
)

// Trim cuts off the white space, and the byte order mark, that a line of a list or a
// careless .torrent leaves around a URL.
func Trim(raw string) string {
	return strings.TrimFunc(raw, func(r rune) bool { return unicode.IsSpace(r) || r == 0xFEFF || r == 0 })
}

// ParseURL reads a tracker's URL as people write it: white space around it is cut off,
// and what may not be in a query, such as a blank, is escaped there. The path and what
// is escaped already stay as they are. The URL has one of the schemes and a host, and
// its port, if any, is a number.
func ParseURL(raw string, schemes ...string) (*url.URL, error) {
	u, err := url.Parse(Trim(raw))
	if err != nil {
		var parse *url.Error
		if errors.As(err, &parse) {
			err = parse.Err
		}
		return nil, fmt.Errorf("not a URL: %w", err)
	}
	known := false
	for _, s := range schemes {
		known = known || u.Scheme == s
	}
	switch {
	case u.Scheme == "":
		return nil, errors.New("not a URL: it begins with no scheme, such as http://")
	case !known:
		return nil, fmt.Errorf("trackers with the scheme %q are not supported; http, https, udp, ws and wss are", Words(u.Scheme))
	case u.Hostname() == "":
		return nil, errors.New("the URL names no host")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return nil, fmt.Errorf("the URL's port %q is not from 1 to 65535", Words(port))
		}
	}
	u.RawQuery = escape(u.RawQuery)
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

// escape escapes what a query may not hold (RFC 3986, section 3.4).
func escape(query string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(query) {
		switch c := query[i]; {
		case c <= ' ' || c >= 0x7F || strings.IndexByte("\"<>\\", c) >= 0:
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
