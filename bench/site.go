package main

import (
	"context"
	"fmt"
	"net"
	"net/url"

	"github.com/causeway-bt/causeway/bench/path"
	"github.com/causeway-bt/causeway/bench/realpeer"
	"github.com/causeway-bt/causeway/bench/relay"
	"github.com/causeway-bt/causeway/bench/webpeer"
	"github.com/causeway-bt/causeway/webrtcwire"
)

// site is where a program runs, and what it speaks.
type site struct {
	host *path.Host // nil: this machine, on loopback
	utp  bool       // nothing but uTP; else nothing but TCP
}

// ends are the sites at both ends of a path; those on loopback if there is none.
func ends(over *path.Path) (from, to site) {
	if over == nil {
		return site{}, site{}
	}
	return site{host: over.A()}, site{host: over.B()}
}

const loopback = "127.0.0.1"

func (s site) ip() string {
	if s.host == nil {
		return loopback
	}
	return s.host.IP
}

// exec is what is put before a command line.
func (s site) exec() []string {
	if s.host == nil {
		return nil
	}
	return s.host.Exec()
}

func (s site) do(f func() error) error {
	if s.host == nil {
		return f()
	}
	return s.host.Do(f)
}

// listen listens on the site's own loopback, which goes through no path.
func (s site) listen() (l net.Listener, err error) {
	err = s.do(func() (err error) { l, err = net.Listen("tcp", net.JoinHostPort(loopback, "0")); return err })
	return l, err
}

// transport returns a WebRTC socket, which the caller closes.
func (s site) transport() (*webrtcwire.Transport, error) {
	var udp net.PacketConn
	err := s.do(func() (err error) { udp, err = net.ListenPacket("udp", net.JoinHostPort(s.ip(), "0")); return err })
	if err != nil {
		return nil, err
	}
	return webpeer.Transport(udp)
}

// reach returns the URL by which a program at the site reaches a server on this machine's
// loopback, without the path, until away is called.
func (s site) reach(server string) (at string, away func(), err error) {
	if s.host == nil {
		return server, func() {}, nil
	}
	u, err := url.Parse(server)
	if err != nil {
		return "", nil, err
	}
	l, err := s.listen()
	if err != nil {
		return "", nil, err
	}
	r, err := relay.Listen(u.Host, relay.Config{Listener: l})
	if err != nil {
		return "", nil, err
	}
	u.Host = r.Addr()
	return u.String(), func() { r.Close() }, nil
}

// meeting is a WebSocket tracker through which the two ends of a path find each other: what
// they tell it does not go over the path.
type meeting struct {
	*realpeer.WebTracker
	atA, atB string // its URL at either end
	away     []func()
}

func meet(ctx context.Context, over *path.Path) (*meeting, error) {
	tracker, err := realpeer.LaunchWebTracker(ctx, 0)
	if err != nil {
		return nil, err
	}
	m := &meeting{WebTracker: tracker}
	from, to := ends(over)
	for _, end := range []struct {
		site
		url *string
	}{{from, &m.atA}, {to, &m.atB}} {
		at, away, err := end.reach(tracker.URL)
		if err != nil {
			m.Close()
			return nil, fmt.Errorf("have both reach the tracker: %w", err)
		}
		*end.url = at
		m.away = append(m.away, away)
	}
	return m, nil
}

func (m *meeting) Close() {
	for _, away := range m.away {
		away()
	}
	m.Stop()
}
