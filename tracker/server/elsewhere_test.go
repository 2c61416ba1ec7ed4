package server

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"net/url"
	"sync"
	"testing"

	"github.com/causeway-bt/causeway/tracker/server/table"
)

// otherNode is a cluster of two, whose other node owns all swarms with odd hashes and
// answers from another goroutine.
type otherNode struct {
	*table.Table // this node's
	other        *table.Table
	wg           sync.WaitGroup
}

func (o *otherNode) Announce(a *table.Announce, r *table.Reply) error {
	if a.Hash[0]%2 == 1 {
		return table.ErrElsewhere
	}
	return o.Table.Announce(a, r)
}

func (o *otherNode) AnnounceLater(a *table.Announce, done func(*table.Reply, error)) {
	o.wg.Go(func() { o.other.AnnounceLater(a, done) })
}

func (o *otherNode) Scrape(h table.Hash) (table.Counts, error) {
	if h[0]%2 == 1 {
		return table.Counts{}, table.ErrElsewhere
	}
	return o.Table.Scrape(h)
}

func (o *otherNode) ScrapeLater(h table.Hash, done func(table.Counts, error)) {
	o.wg.Go(func() { o.other.ScrapeLater(h, done) })
}

func TestSwarmsOfAnotherNode(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:0", "[::1]:0"} {
		var node *otherNode
		s := startAt(t, Config{Cluster: func(tab *table.Table) table.Swarms {
			node = &otherNode{Table: tab, other: table.New(table.Config{Limits: table.Limits{SwarmSize: 3}})}
			return node
		}}, listen)
		t.Cleanup(func() { node.wg.Wait() })
		base := "http://" + s.tcp
		c := dialUDP(t, s.udp)
		conn := c.connect()
		for _, h := range [][20]byte{hash(1), hash(2)} {
			get(t, announceURL(base, h, id(1), "&port=1111&left=0"))
			c.ask(announcePacket(conn, h, id(2), 5, 2, -1, 2222))
			r := c.ask(announcePacket(conn, h, id(3), 5, 2, -1, 3333))
			ip := netip.MustParseAddrPort(s.udp).Addr().AsSlice()
			if len(r) != 20+2*(len(ip)+2) || !bytes.Contains(r, binary.BigEndian.AppendUint16(ip, 1111)) {
				t.Errorf("UDP reply %x", r)
			}
			if r := get(t, announceURL(base, h, id(1), "&port=1111&left=0&numwant=1")); len(r.Peers.(string))+len(r.Peers6) != len(ip)+2 || r.Incomplete != 2 {
				t.Errorf("HTTP reply %+v", r)
			}
		}
		if here, there := s.Table().Size(), node.other.Size(); here.Swarms != 1 || there.Swarms != 1 {
			t.Errorf("%+v here, %+v there", here, there)
		}
		want := []byte{0, 0, 0, 2, 't', 'i', 'd', ' ', 11: 1, 19: 2, 23: 1, 31: 2}
		if r := c.ask(scrapePacket(conn, hash(1), hash(2))); !bytes.Equal(r, want) {
			t.Errorf("UDP scrape %x, want %x", r, want)
		}
		h1, h2 := hash(1), hash(2)
		sc := get(t, base+"/scrape?info_hash="+url.QueryEscape(string(h1[:]))+"&info_hash="+url.QueryEscape(string(h2[:])))
		if sc.Files[string(h1[:])].Incomplete != 2 || sc.Files[string(h2[:])].Incomplete != 2 {
			t.Errorf("HTTP scrape %+v", sc)
		}
		// The other node refuses, too.
		if r := c.ask(announcePacket(conn, hash(1), id(4), 5, 2, -1, 4444)); binary.BigEndian.Uint32(r) != actionError {
			t.Errorf("%x", r)
		}
		if r := get(t, announceURL(base, hash(1), id(4), "&port=4444")); r.Failure == "" {
			t.Errorf("%+v", r)
		}
	}
}
