package discovery

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"github.com/anacrolix/dht/v2/krpc"
	"github.com/anacrolix/torrent/bencode"
)

const nodeID = "2:id20:abcdefghij0123456789"

func anyone(netip.Addr) bool { return true }

func TestOfAMessageWhatCanBeUsedIsUsed(t *testing.T) {
	const (
		hash  = "9:info_hash20:mnopqrstuvwxyz123456"
		query = "d1:ad" + nodeID + hash + "e1:q9:get_peers1:t2:aa1:y1:qe"
		node  = "abcdefghij0123456789\x01\x02\x03\x04\x1a\xe1"
	)
	for _, c := range []struct{ name, packet, want string }{
		{"a query as it should be", query, query},
		{"keys in another order", "d1:y1:q1:t2:aa1:q9:get_peers1:ad" + hash + nodeID + "ee", query},
		{"the same key twice", "d1:ad" + nodeID + nodeID + hash + "e1:q9:get_peers1:q4:ping1:t2:aa1:y1:qe", query},
		{"keys that nobody knows", "d1:ad" + nodeID + hash + "1:zd1:bi1e1:ai2eee1:q9:get_peers1:t2:aa1:v4:LT\x01\x021:y1:qe", query},
		{"bytes behind the dictionary", query + "\x00\x00garbage", query},
		{"nothing says that it is a query", "d1:ad" + nodeID + hash + "e1:q9:get_peers1:t2:aae", query},
		{"odd integers", "d1:ad" + nodeID + "12:implied_porti01e" + hash + "4:porti06881ee1:q13:announce_peer2:roi-0e1:t2:aa1:y1:qe",
			"d1:ad" + nodeID + "12:implied_porti1e" + hash + "4:porti6881ee1:q13:announce_peer1:t2:aa1:y1:qe"},
		{"a port written as a string", "d1:ad" + nodeID + hash + "4:port4:6881e1:q13:announce_peer1:t2:aa1:y1:qe",
			"d1:ad" + nodeID + hash + "4:porti6881ee1:q13:announce_peer1:t2:aa1:y1:qe"},
		{"an integer that is none", "d1:ad" + nodeID + hash + "6:noseedi--e4:porti6881ee1:q13:announce_peer1:t2:aa1:y1:qe",
			"d1:ad" + nodeID + hash + "4:porti6881ee1:q13:announce_peer1:t2:aa1:y1:qe"},
		{"an integer beyond 64 bits", "d1:ad" + nodeID + hash + "6:scrapei99999999999999999999ee1:q9:get_peers1:t2:aa1:y1:qe", query},
		{"a family asked for without a list", "d1:ad" + nodeID + hash + "4:want2:n6e1:q9:get_peers1:t2:aa1:y1:qe",
			"d1:ad" + nodeID + hash + "4:wantl2:n6ee1:q9:get_peers1:t2:aa1:y1:qe"},
		{"values of other types", "d1:rd" + nodeID + "5:nodesi1e5:token1:x6:valuesi5ee1:t2:aa1:y1:re", "d1:rd" + nodeID + "5:token1:xe1:t2:aa1:y1:re"},
		{"an answer without an id", "d1:rd5:nodes26:" + node + "e1:t2:aa1:y1:re", "d1:rd5:nodes26:" + node + "e1:t2:aa1:y1:re"},
		{"nodes cut short", "d1:rd" + nodeID + "5:nodes29:" + node + "abce1:t2:aa1:y1:re", "d1:rd" + nodeID + "5:nodes26:" + node + "e1:t2:aa1:y1:re"},
		{"nodes as a list", "d1:rd" + nodeID + "5:nodesl26:" + node + "ee1:t2:aa1:y1:re", "d1:rd" + nodeID + "5:nodes26:" + node + "e1:t2:aa1:y1:re"},
		{"peers in one string", "d1:rd" + nodeID + "6:values12:\x01\x02\x03\x04\x00\x01\x01\x02\x03\x05\x00\x01e1:t2:aa1:y1:re",
			"d1:rd" + nodeID + "6:valuesl6:\x01\x02\x03\x04\x00\x016:\x01\x02\x03\x05\x00\x01ee1:t2:aa1:y1:re"},
		{"a peer of one byte among others", "d1:rd" + nodeID + "6:valuesl1:ai7e6:\x01\x02\x03\x04\x00\x01ee1:t2:aa1:y1:re",
			"d1:rd" + nodeID + "6:valuesl6:\x01\x02\x03\x04\x00\x01ee1:t2:aa1:y1:re"},
		{"our address of no bytes", "d2:ip0:1:rd" + nodeID + "e1:t2:aa1:y1:re", "d1:rd" + nodeID + "e1:t2:aa1:y1:re"},
		{"the end cut off", "d1:t2:aa1:y1:r1:rd" + nodeID + "5:token1:x5:nodes26:abc", "d1:rd" + nodeID + "5:token1:xe1:t2:aa1:y1:re"},
		{"a key that is no string", "di1ei2e1:rd" + nodeID + "e1:t2:aa1:y1:re", "d1:rd" + nodeID + "e1:t2:aa1:y1:re"},
		{"an error of words alone", "d1:e2:no1:t2:aa1:y1:ee", "d1:eli201e2:noe1:t2:aa1:y1:ee"},
		{"an error of nothing", "d1:ele1:t2:aa1:y1:ee", "d1:eli201e0:e1:t2:aa1:y1:ee"},
		// The library looks for the target of find_node where get_peers has its infohash.
		{"find_node", "d1:ad" + nodeID + "6:target20:mnopqrstuvwxyz123456e1:q9:find_node1:t2:aa1:y1:qe",
			"d1:ad" + nodeID + hash + "6:target20:mnopqrstuvwxyz123456e1:q9:find_node1:t2:aa1:y1:qe"},

		{"announce_peer without arguments", "d1:q13:announce_peer1:t2:aa1:y1:qe", ""},
		{"announce_peer without a port", "d1:ad" + nodeID + hash + "5:token1:xe1:q13:announce_peer1:t2:aa1:y1:qe", ""},
		{"announce_peer with a port out of range", "d1:ad" + nodeID + hash + "4:porti70000ee1:q13:announce_peer1:t2:aa1:y1:qe", ""},
		{"get_peers of a short infohash", "d1:ad" + nodeID + "9:info_hash2:mne1:q9:get_peers1:t2:aa1:y1:qe", ""},
		{"a method nobody knows", "d1:ad" + nodeID + "e1:q4:pong1:t2:aa1:y1:qe", ""},
		{"put", "d1:ad" + nodeID + "e1:q3:put1:t2:aa1:y1:qe", ""},
		{"answer without a body", "d1:t2:aa1:y1:re", ""},
		{"a string that is not there", "d1:t99999999:aa1:y1:qe", ""},
		{"a string of an enormous length", "d1:t99999999999999999999:aa1:y1:qe", ""},
		{"deep nesting", "d1:a" + strings.Repeat("l", 100) + strings.Repeat("e", 100) + "1:y1:qe", ""},
		{"nesting that does not end", "d1:a" + strings.Repeat("l", 4000), ""},
		{"a long transaction id", "d1:ad" + nodeID + "e1:q4:ping1:t300:" + strings.Repeat("x", 300) + "1:y1:qe", ""},
		{"too long", "d1:t4000:" + strings.Repeat("x", 4100) + "e", ""},
		{"nothing", "", ""},
		{"a list", "le", ""},
	} {
		got, err := sanitize([]byte(c.packet), hearing(anyone))
		if string(got) != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s:\n%q, %v, want\n%q", c.name, got, err, c.want)
		}
		var m krpc.Msg
		if err == nil && bencode.Unmarshal(got, &m) != nil {
			t.Errorf("%s: the library cannot read %q", c.name, got)
		}
	}
}

func TestANodeNamesOnlyWhomItMay(t *testing.T) {
	const id = "abcdefghij0123456789"
	outside, inside := "\x01\x02\x03\x04\x1a\xe1", "\xc0\xa8\x00\x01\x1a\xe1"
	loop6 := strings.Repeat("\x00", 15) + "\x01\x1a\xe1"
	mapped := strings.Repeat("\x00", 10) + "\xff\xff\x7f\x00\x00\x01\x1a\xe1"
	outside6 := "\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x01\x1a\xe1"
	packet := "d1:rd" + nodeID +
		"5:nodes52:" + id + inside + id + outside +
		"6:nodes6114:" + id + loop6 + id + mapped + id + outside6 +
		"6:valuesl6:" + inside + "6:" + outside + "18:" + loop6 + "18:" + mapped + "18:" + outside6 + "e" +
		"e1:t2:aa1:y1:re"
	may := func(a netip.Addr) bool { return !a.IsPrivate() && !a.IsLoopback() }
	want := "d1:rd" + nodeID + "5:nodes26:" + id + outside + "6:nodes638:" + id + outside6 +
		"6:valuesl6:" + outside + "18:" + outside6 + "ee1:t2:aa1:y1:re"
	if got, err := sanitize([]byte(packet), hearing(may)); string(got) != want {
		t.Errorf("%q, %v, want\n%q", got, err, want)
	}
}

// FuzzSanitize holds that what passes can be read by the library, is no longer than it may be, and
// stays as it is the second time.
func FuzzSanitize(f *testing.F) {
	f.Add([]byte("d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe"))
	f.Add([]byte("d1:y1:r1:rd6:valuesl6:abcdef18:abcdefghijklmnopqre5:nodesl26:abcdefghijklmnopqrstuvwxyzee1:t2:aae"))
	f.Add([]byte("d1:ali1eeli-0eee"))
	f.Add([]byte("d1:eli05e2:noe1:t0:e"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := sanitize(b, hearing(anyone))
		if err != nil {
			return
		}
		if len(got) > maxMessage+200 {
			t.Fatalf("%d bytes of %d", len(got), len(b))
		}
		var m krpc.Msg
		if err := bencode.Unmarshal(got, &m); err != nil {
			t.Fatalf("%q became %q: %v", b, got, err)
		}
		if again, err := sanitize(got, hearing(anyone)); err == nil && !bytes.Equal(again, got) {
			t.Fatalf("%q became %q, and that %q", b, got, again)
		}
	})
}

// hearing takes the nodes and peers that may be named.
func hearing(may func(netip.Addr) bool) hearers {
	return hearers{
		peer: may,
		node: func(n netip.AddrPort) bool { return may(n.Addr()) },
		seen: func(netip.Addr) {}, answer: func([]byte) {},
		want: func(string) bool { return true },
	}
}
