package portmap

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// The table is that of a laptop with WLAN and a VPN that overrides the default route by two
// halves.
func TestRoutersOfTheRoutingTable(t *testing.T) {
	const table = `Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
tun0	00000000	0101100A	0003	0	0	0	00000080	0	0	0
wlan0	00000000	FE01A8C0	0003	0	0	600	00000000	0	0	0
wlan0	00000000	0101A8C0	0003	0	0	100	00000000	0	0	0
wlan0	0001A8C0	00000000	0001	0	0	600	00FFFFFF	0	0	0
tun0	00000080	0101100A	0003	0	0	0	00000080	0	0	0
short	line
`
	for iface, want := range map[string][]netip.Addr{
		"wlan0": {netip.MustParseAddr("192.168.1.1"), netip.MustParseAddr("192.168.1.254")},
		"tun0":  {netip.MustParseAddr("10.16.1.1")},
		"eth0":  nil,
	} {
		if got := parseRouters(strings.NewReader(table), iface); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", iface, got, want)
		}
	}
}
