package portmap

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// routeTable is the kernel's main routing table.
const routeTable = "/proc/net/route"

// flagGateway says that a route goes by a router (RTF_GATEWAY).
const flagGateway = 2

// maxRoutes bounds the lines that are read of the table.
const maxRoutes = 10000

// routers are those that routes of an interface go by, that of the default route first.
func routers(iface string) []netip.Addr {
	file, err := os.Open(routeTable)
	if err != nil {
		return nil
	}
	defer file.Close()
	return parseRouters(file, iface)
}

func parseRouters(table io.Reader, iface string) (routers []netip.Addr) {
	type route struct {
		gateway netip.Addr
		mask    uint32
		metric  uint64
	}
	var routes []route
	lines := bufio.NewScanner(table)
	for n := 0; lines.Scan() && n < maxRoutes; n++ {
		// Iface Destination Gateway Flags RefCnt Use Metric Mask ...
		f := strings.Fields(lines.Text())
		if len(f) < 8 || f[0] != iface {
			continue
		}
		flags, err := strconv.ParseUint(f[3], 16, 32)
		gateway, ok := hexAddr(f[2])
		mask, maskOK := hexAddr(f[7])
		if err != nil || !ok || !maskOK || flags&flagGateway == 0 || gateway.IsUnspecified() {
			continue
		}
		metric, err := strconv.ParseUint(f[6], 10, 64)
		if err != nil {
			continue
		}
		bits := mask.As4()
		routes = append(routes, route{gateway, binary.BigEndian.Uint32(bits[:]), metric})
	}
	// The shortest mask is the default's, or that of the two halves by which some VPNs
	// override it.
	slices.SortStableFunc(routes, func(a, b route) int {
		return cmp.Or(cmp.Compare(a.mask, b.mask), cmp.Compare(a.metric, b.metric))
	})
	for _, r := range routes {
		routers = append(routers, r.gateway)
	}
	return firstOfEach(routers)
}

// hexAddr reads an address as the kernel writes it: a hexadecimal number in the machine's own
// byte order.
func hexAddr(s string) (netip.Addr, bool) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 4 {
		return netip.Addr{}, false
	}
	var a [4]byte
	binary.NativeEndian.PutUint32(a[:], binary.BigEndian.Uint32(b))
	return netip.AddrFrom4(a), true
}
