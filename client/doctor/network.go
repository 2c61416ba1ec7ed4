package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/causeway-bt/causeway/client"
	"github.com/causeway-bt/causeway/client/network"
	"github.com/causeway-bt/causeway/client/portmap"
)

// checkNetwork looks whether there is a way to the outside, and reports it.
func (v *visit) checkNetwork() bool {
	bind, err := network.ParseBind(v.cfg.Client.ListenHost)
	way, wayErr := network.New(network.Config{Bind: bind})
	if err := errors.Join(err, wayErr); err != nil {
		v.add(nameNetwork, Fail, "Choose another --listen", "The address to listen on cannot be used: %v", err)
		return false
	}
	if v.cfg.Client.ListenHost != "" && len(bind) > 0 && bind[0].IsLoopback() {
		v.add(nameNetwork, None, "", "Only this machine is used: --listen is %s", v.cfg.Client.ListenHost)
		return true
	}
	four, err4 := way.Outgoing(true)
	six, err6 := way.Outgoing(false)
	v.found.public = network.IsGlobal(four)
	switch {
	case errors.Is(err4, syscall.EADDRNOTAVAIL), errors.Is(err6, syscall.EADDRNOTAVAIL):
		v.add(nameNetwork, Fail, "Choose an address that `ip address` or the system's settings list, or leave --listen out",
			"This machine has no address %s", v.cfg.Client.ListenHost)
		return false
	case err4 != nil && err6 != nil:
		v.add(nameNetwork, Fail, "Connect this machine: is the cable in, the WLAN joined, the VPN up?",
			"There is no way to the outside: neither IPv4 nor IPv6 has a route")
		return false
	case err4 != nil:
		v.add(nameNetwork, Warn, "Most peers have IPv4 only, and cannot be reached", "There is no way by IPv4, only by IPv6, from %v", six)
	case v.found.public:
		v.add(nameNetwork, OK, "", "IPv4 goes out from %v, a public address", four)
	default:
		v.add(nameNetwork, OK, "", "IPv4 goes out from %v, by NAT", four)
	}
	switch {
	case err6 != nil:
		v.add(nameIPv6, None, "", "No IPv6 here: peers that have nothing else are not reached, which are few")
	case !network.IsGlobal(six):
		v.add(nameIPv6, None, "", "No IPv6 to the outside: %v is an address of the local network", six)
	default:
		v.add(nameIPv6, OK, "", "IPv6 goes out from %v", six)
	}
	return true
}

// portDetails are those of "ports".
type portDetails struct {
	TCP string `json:"tcp,omitempty"`
	UDP string `json:"udp"`
}

// checkPorts starts the client.
func (v *visit) checkPorts() {
	cfg := v.cfg.Client
	cfg.OnEvent = v.events.put
	fallback := cfg.PortFallback
	cfg.PortFallback = false
	var err error
	if v.client, err = client.New(cfg); err != nil && fallback && errors.Is(err, syscall.EADDRINUSE) {
		cfg.PortFallback = true
		taken := err
		if v.client, err = client.New(cfg); err == nil {
			v.addDetails(namePorts, Warn, "Another program has it, perhaps another Causeway. End that, or choose a port with --port", v.ports(),
				"Port %d is taken, and %d is used instead: %v", cfg.Port, v.port(), lastOf(taken))
			return
		}
	}
	switch {
	case err == nil:
		what := "TCP and UDP port %d are bound"
		if v.client.TCPAddr() == nil {
			what = "UDP port %d is bound; TCP is switched off"
		}
		v.addDetails(namePorts, OK, "", v.ports(), what, v.port())
	case errors.Is(err, syscall.EADDRINUSE):
		v.add(namePorts, Fail, "Another program has it, perhaps another Causeway. End that, or choose another --port",
			"Port %d is taken: %v", cfg.Port, lastOf(err))
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		v.add(namePorts, Fail, "Choose a --port above 1023", "Port %d may not be bound: %v", cfg.Port, lastOf(err))
	default:
		v.add(namePorts, Fail, "", "The client does not start: %v", err)
	}
}

func (v *visit) port() int { return v.client.UDPAddr().(*net.UDPAddr).Port }

func (v *visit) ports() portDetails {
	d := portDetails{UDP: v.client.UDPAddr().String()}
	if tcp := v.client.TCPAddr(); tcp != nil {
		d.TCP = tcp.String()
	}
	return d
}

// lastOf is the cause at the end of what wraps it, in one line.
func lastOf(err error) string {
	var call *net.OpError
	if errors.As(err, &call) {
		return call.Error()
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}

// mappingDetails are those of "mapping".
type mappingDetails struct {
	Protocol string  `json:"protocol"`
	Gateway  string  `json:"gateway"`
	External string  `json:"external,omitempty"`
	Lease    float64 `json:"lease"` // seconds; 0: until it is removed
}

// checkMapping waits for the outcome of asking the gateway.
func (v *visit) checkMapping(ctx context.Context) {
	status, changed := v.client.PortMapping()
	for status.State == portmap.Searching {
		select {
		case <-changed:
		case <-ctx.Done():
		}
		status, changed = v.client.PortMapping()
		if ctx.Err() != nil {
			break
		}
	}
	forward := fmt.Sprintf("Turn on UPnP or NAT-PMP in the router's settings, or forward TCP and UDP port %d to this machine by hand", v.port())
	if v.found.noRoute {
		v.add(nameMapping, None, "", "No gateway is asked without a way to the outside")
		return
	}
	details := mappingDetails{Protocol: string(status.Protocol), Gateway: status.Gateway.String(), Lease: status.Lease.Seconds()}
	switch status.State {
	case portmap.OK:
		details.External = status.External.String()
		lease := "until it is removed"
		if status.Lease > 0 {
			lease = "for " + status.Lease.Round(time.Second).String() + " at a time"
		}
		if !network.IsGlobal(status.External.Addr()) {
			v.addDetails(nameMapping, Warn, "Another NAT is before the router: the provider's, for which only IPv6 or a VPN that forwards ports helps, or that of a second router of yours, where the port has to be forwarded as well", details,
				"The router %v maps the port by %s, but its own address %v is not a public one", status.Gateway, protocolWords[status.Protocol], status.External.Addr())
			return
		}
		v.addDetails(nameMapping, OK, "", details, "The router %v maps %v to us by %s, %s",
			status.Gateway, status.External, protocolWords[status.Protocol], lease)
	case portmap.Failed, portmap.Lost:
		v.addDetails(nameMapping, Warn, forward, details, "The port is not mapped: %v", status.Err)
	default:
		switch {
		case errors.Is(status.Err, portmap.ErrPublic), errors.Is(status.Err, portmap.ErrLoopback), errors.Is(status.Err, portmap.ErrNoIPv4), errors.Is(status.Err, portmap.ErrOff):
			v.add(nameMapping, None, "", "No port is mapped: %v", status.Err)
		case status.State == portmap.Searching:
			v.add(nameMapping, Warn, forward, "No port is mapped: %v", portmap.ErrNoGateway)
		default:
			v.add(nameMapping, Warn, forward, "No port is mapped: %v", status.Err)
		}
	}
}

var protocolWords = map[portmap.Protocol]string{portmap.PCP: "PCP", portmap.NATPMP: "NAT-PMP", portmap.UPnP: "UPnP"}

// concludeTCP says whether peers can open TCP connections to us, as far as can be told.
func (v *visit) concludeTCP() {
	if v.client == nil || v.found.noRoute {
		return
	}
	status, _ := v.client.PortMapping()
	mapped := status.State == portmap.OK && network.IsGlobal(status.External.Addr())
	switch {
	case v.client.TCPAddr() == nil:
		v.add(nameTCP, None, "", "TCP is switched off")
	case v.client.CameIn() > 0:
		v.add(nameTCP, OK, "", "Peers can connect to us: %d did", v.client.CameIn())
	case v.loopback():
		v.add(nameTCP, None, "", "Only peers on this machine can connect to us")
	case v.found.public:
		v.add(nameTCP, OK, "", "Peers can connect to our public address, if no firewall is before it; none has tried yet")
	case mapped:
		v.add(nameTCP, OK, "", "Peers can connect to us at %v; none has tried yet", status.External)
	default:
		v.add(nameTCP, Warn, "", "Peers cannot connect to us by TCP, as no port is mapped; we can connect to those that are reachable")
	}
}
