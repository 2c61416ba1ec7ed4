package ws

import (
	"context"
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/tracker"
)

func TestParseICEServers(t *testing.T) {
	long := strings.Repeat("x", maxICESecret+1)
	for _, test := range []struct {
		name, text string
		want       iceServers
	}{
		{"usual", `[{"urls":["stun:192.0.2.1:3478"]},{"urls":["turn:t.example:8000?transport=udp","turns:t.example:8000?transport=tcp"],"username":"u","credential":"c"}]`,
			iceServers{{URLs: []string{"stun:192.0.2.1:3478"}}, {URLs: []string{"turn:t.example:8000?transport=udp", "turns:t.example:8000?transport=tcp"}, Username: "u", Credential: "c"}}},
		{"one URL", `[{"urls":"stun:s.example"}]`, iceServers{{URLs: []string{"stun:s.example:3478"}}}},
		{"IPv6", `[{"urls":["stun:[2001:db8::1]:1","stun:[2001:db8::1]"]}]`, iceServers{{URLs: []string{"stun:[2001:db8::1]:1", "stun:[2001:db8::1]:3478"}}}},
		{"default ports", `[{"urls":["turn:a.example","turns:a.example"],"username":"u","credential":"c"}]`,
			iceServers{{URLs: []string{"turn:a.example:3478", "turns:a.example:5349"}, Username: "u", Credential: "c"}}},
		{"a relay without credentials", `[{"urls":["turn:a.example","stun:a.example"]}]`, iceServers{{URLs: []string{"stun:a.example:3478"}}}},
		{"other schemes", `[{"urls":["http://a.example","file:/etc/passwd","stuns:a.example","stun"]}]`, nil},
		{"no hosts", `[{"urls":["stun:","stun::1","stun:a b","stun:u@a.example","stun:a.example:0","stun:a.example:70000","stun:a.example/x","stun:-a"]}]`, nil},
		{"no transports", `[{"urls":["turn:a?transport=sctp","turn:a?x=y","stun:a?transport=udp","turn:a?"],"username":"u","credential":"c"}]`, nil},
		{"too long", `[{"urls":["stun:` + strings.Repeat("a", maxICEURL) + `"]},{"urls":"stun:a","username":"` + long + `"}]`, nil},
		{"no list", `{"urls":"stun:a"}`, nil},
		{"null", `null`, nil},
		{"something else among them", `[1,"stun:a",{"urls":5},{"urls":"stun:a"}]`, iceServers{{URLs: []string{"stun:a:3478"}}}},
	} {
		m, err := parseMessage([]byte(`{"action":"announce","interval":120,"iceServers":` + test.text + `}`))
		if err != nil || m.Interval != 120 {
			t.Errorf("%s: the message is lost: %v", test.name, err)
		}
		if !reflect.DeepEqual(m.ICEServers, test.want) {
			t.Errorf("%s: %v, want %v", test.name, m.ICEServers, test.want)
		}
	}
}

func TestICEServersAreBounded(t *testing.T) {
	server := `{"urls":["stun:a","stun:b","stun:c","stun:d","stun:e","stun:f"]},`
	m, err := parseMessage([]byte(`{"iceServers":[` + strings.Repeat(server, 1000) + `{}]}`))
	if err != nil {
		t.Fatal(err)
	}
	urls := 0
	for _, server := range m.ICEServers {
		urls += len(server.URLs)
	}
	if len(m.ICEServers) > maxICEServers || urls != maxICEURLs {
		t.Errorf("%d servers with %d URLs", len(m.ICEServers), urls)
	}
}

// FuzzICEServers checks that what a tracker names is bounded and well-formed, and never harms the
// rest of its message.
func FuzzICEServers(f *testing.F) {
	f.Add(`[{"urls":["stun:192.0.2.1:3478"],"username":"u","credential":"c"}]`)
	f.Add(`[{"urls":"turns:[::1]:1?transport=tcp","username":"u","credential":"c"}]`)
	f.Fuzz(func(t *testing.T, text string) {
		if !json.Valid([]byte(text)) {
			return
		}
		m, err := parseMessage([]byte(`{"interval":7,"iceServers":` + text + `}`))
		if err != nil || m.Interval != 7 || len(m.ICEServers) > maxICEServers {
			t.Fatalf("%v, %v", m, err)
		}
		for _, server := range m.ICEServers {
			for _, url := range server.URLs {
				again, ok := parseICEURL(url)
				if !ok || again.String() != url {
					t.Errorf("%q is read as %q, %v", url, again, ok)
				}
			}
		}
	})
}

// streetMap is a network where names are where a test says.
type streetMap struct {
	tracker.Network
	names map[string][]netip.Addr
}

func (s streetMap) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	return s.names[host], nil
}

// MayName lets public speakers name public addresses, and private ones all.
func (s streetMap) MayName(speaker, named netip.Addr) bool {
	return speaker.IsPrivate() || !named.IsPrivate() && !named.IsLoopback()
}

// TestICEServersInside has trackers name servers inside of our network.
func TestICEServersInside(t *testing.T) {
	network := streetMap{names: map[string][]netip.Addr{
		"outside.example": {netip.MustParseAddr("192.0.2.7")},
		"inside.example":  {netip.MustParseAddr("10.0.0.7")},
		"both.example":    {netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("10.0.0.7")},
	}}
	m := New(Config{Network: network})
	defer m.Close()
	servers := []ICEServer{{Username: "u", Credential: "c", URLs: []string{
		"stun:outside.example:1", "turn:inside.example:2", "turn:both.example:3", "turn:10.0.0.8:4", "turn:127.0.0.1:5",
		"turns:outside.example:6?transport=tcp", "turns:inside.example:7", "stun:nowhere.example:8",
	}}}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, test := range []struct {
		speaker string
		want    []string
	}{
		{"198.51.100.1", []string{"stun:192.0.2.7:1", "turns:outside.example:6?transport=tcp"}},
		{"10.0.0.1", []string{
			"stun:192.0.2.7:1", "turn:10.0.0.7:2", "turn:192.0.2.7:3", "turn:10.0.0.8:4", "turn:127.0.0.1:5",
			"turns:outside.example:6?transport=tcp", "turns:inside.example:7",
		}},
	} {
		got := m.vet(ctx, netip.MustParseAddr(test.speaker), servers)
		if len(got) != 1 || !reflect.DeepEqual(got[0].URLs, test.want) {
			t.Errorf("from %s: %v, want %v", test.speaker, got, test.want)
		}
	}
}
