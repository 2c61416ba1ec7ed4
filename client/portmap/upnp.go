package portmap

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/huin/goupnp"
	"github.com/huin/goupnp/dcps/internetgateway2"
	"github.com/huin/goupnp/soap"
	"golang.org/x/net/html/charset"
)

const (
	// maxXML bounds each document of a device.
	maxXML = 256 << 10
	// upnpHeaders bounds and times the rest of its answers.
	upnpHeaders      = 16 << 10
	upnpTimeout      = 3 * time.Second
	upnpDescription  = "Causeway"
	upnpPortAttempts = 5 // where ports are taken
	// Other ports are chosen from the dynamic ones (RFC 6335 section 6).
	dynamicPorts = 49152
)

// Errors of a WANIPConnection (its version 2, section 2.5.16, and 2.3.20 of version 1).
const (
	upnpNoSuchEntry = 714
	upnpConflict    = 718
	upnpSamePorts   = 724
	upnpPermanent   = 725
	upnpNotAllowed  = 606
)

// connection is as much of a WANIPConnection or WANPPPConnection as is needed.
type connection interface {
	AddPortMappingCtx(ctx context.Context, remoteHost string, external uint16, protocol string, internal uint16, client string, enabled bool, description string, lease uint32) error
	DeletePortMappingCtx(ctx context.Context, remoteHost string, external uint16, protocol string) error
	GetExternalIPAddressCtx(ctx context.Context) (string, error)
	GetSpecificPortMappingEntryCtx(ctx context.Context, remoteHost string, external uint16, protocol string) (internal uint16, client string, enabled bool, description string, lease uint32, err error)
}

// services are the kinds of connection in the order in which they are used.
var services = []struct {
	urn  string
	make func(goupnp.ServiceClient) connection
}{
	{internetgateway2.URN_WANIPConnection_2, func(c goupnp.ServiceClient) connection { return &internetgateway2.WANIPConnection2{ServiceClient: c} }},
	{internetgateway2.URN_WANIPConnection_1, func(c goupnp.ServiceClient) connection { return &internetgateway2.WANIPConnection1{ServiceClient: c} }},
	{internetgateway2.URN_WANPPPConnection_1, func(c goupnp.ServiceClient) connection { return &internetgateway2.WANPPPConnection1{ServiceClient: c} }},
}

// upnp is a gateway that speaks UPnP.
type upnp struct {
	connection connection
	gateway    netip.Addr
	local      netip.Addr
	external   netip.Addr
	permanent  bool // it takes no leases
}

// searchUPnP hands on the gateways that it finds, until ctx ends.
func searchUPnP(ctx context.Context, n Network, w way, answer func(gateway)) {
	var looking sync.WaitGroup
	defer looking.Wait()
	_ = search(ctx, n, w, func(location *url.URL) { // nobody to be found is what mostly happens
		looking.Go(func() {
			if g, err := describe(ctx, n, w.local, location); err == nil {
				answer(g)
			}
		})
	})
}

// deviceClient returns what sends requests to one device only, and reads little of what
// it answers.
func deviceClient(n Network, host string) *http.Client {
	transport := &http.Transport{
		DialContext:            n.DialContext, // and no proxy: it would be asked for its own gateway
		DisableKeepAlives:      true,
		MaxResponseHeaderBytes: upnpHeaders,
	}
	return &http.Client{
		Transport:     boundedTransport{transport, host},
		Timeout:       upnpTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

type boundedTransport struct {
	http.RoundTripper
	host string
}

func (t boundedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Hostname() != t.host || r.URL.Scheme != "http" {
		return nil, fmt.Errorf("the device %s sends us to %s", t.host, r.URL.Host)
	}
	response, err := t.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	response.Body = boundedBody{io.LimitReader(response.Body, maxXML), response.Body}
	return response, nil
}

type boundedBody struct {
	io.Reader
	io.Closer
}

// describe reads a device's description, and makes sure that it is connected.
func describe(ctx context.Context, n Network, local netip.Addr, location *url.URL) (*upnp, error) {
	client := deviceClient(n, location.Hostname())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, location.String(), nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the description of %s: %s", location.Host, response.Status)
	}
	root, err := parseDescription(response.Body, location)
	if err != nil {
		return nil, err
	}
	host, err := netip.ParseAddr(location.Hostname())
	if err != nil {
		return nil, err
	}
	for _, s := range services {
		found, err := goupnp.NewServiceClientsFromRootDevice(root, location, s.urn)
		if err != nil {
			continue
		}
		for _, c := range found[:min(len(found), maxDevices)] {
			if !c.Service.ControlURL.Ok {
				continue
			}
			c.SOAPClient.HTTPClient = *client
			g := &upnp{connection: s.make(c), gateway: host, local: local}
			if g.askAddress(ctx) == nil {
				return g, nil
			}
		}
	}
	return nil, errors.New("it has no connection to map ports of")
}

// parseDescription reads the description that was found at location. URLs in it are relative
// to that, whatever it says.
func parseDescription(r io.Reader, location *url.URL) (*goupnp.RootDevice, error) {
	root := new(goupnp.RootDevice)
	decoder := xml.NewDecoder(r)
	decoder.DefaultSpace = goupnp.DeviceXMLNamespace
	decoder.CharsetReader = charset.NewReaderLabel
	if err := decoder.Decode(root); err != nil {
		return nil, fmt.Errorf("reading the description of %s: %w", location.Host, err)
	}
	root.SetURLBase(location)
	return root, nil
}

func (g *upnp) protocol() Protocol  { return UPnP }
func (g *upnp) address() netip.Addr { return g.gateway }

func (g *upnp) askAddress(ctx context.Context) error {
	text, err := g.connection.GetExternalIPAddressCtx(ctx)
	if err != nil {
		return plain(err)
	}
	external, err := netip.ParseAddr(text)
	if err != nil || !external.Is4() || external.IsUnspecified() {
		return errors.New("it has no address of its own")
	}
	g.external = external
	return nil
}

func (g *upnp) open(ctx context.Context, w want) (grant, error) {
	external := w.suggested
	for attempt := 1; ; attempt++ {
		lease := w.lease
		if g.permanent {
			lease = 0
		}
		err := plain(g.connection.AddPortMappingCtx(ctx, "", external, transportName(w.tcp), w.internal, g.local.String(), true, upnpDescription, uint32(lease/time.Second)))
		if err == nil {
			return grant{w, netip.AddrPortFrom(g.external, external), lease}, nil
		}
		switch code := upnpCode(err); {
		case attempt == upnpPortAttempts:
			return grant{}, err
		case code == upnpPermanent && !g.permanent:
			g.permanent = true
		case code == upnpConflict:
			external = dynamicPorts + rand.N[uint16](1<<16-1-dynamicPorts)
		default:
			return grant{}, err
		}
	}
}

func (g *upnp) close(ctx context.Context, gr grant) error {
	return plain(g.connection.DeletePortMappingCtx(ctx, "", gr.external.Port(), transportName(gr.want.tcp)))
}

func (g *upnp) intact(ctx context.Context, grants []grant) (netip.Addr, bool, error) {
	if err := g.askAddress(ctx); err != nil {
		return netip.Addr{}, true, err
	}
	for _, gr := range grants {
		internal, client, enabled, _, _, err := g.connection.GetSpecificPortMappingEntryCtx(ctx, "", gr.external.Port(), transportName(gr.want.tcp))
		switch err = plain(err); {
		case upnpCode(err) == upnpNoSuchEntry:
			return g.external, false, nil
		case err != nil:
			return g.external, true, err
		case !enabled || internal != gr.want.internal || client != g.local.String():
			return g.external, false, nil
		}
	}
	return g.external, true, nil
}

// upnpError is an answer that says what is wrong.
type upnpError struct {
	code int
	text string
}

func (e *upnpError) Error() string { return fmt.Sprintf("%s (error %d)", e.text, e.code) }

// maxErrorText bounds what a gateway says to people.
const maxErrorText = 100

// plain makes the library's errors readable: they have whole documents in them.
func plain(err error) error {
	var fault *soap.SOAPFaultError
	if !errors.As(err, &fault) {
		return err
	}
	e := &upnpError{fault.Detail.UPnPError.Errorcode, fault.Detail.UPnPError.ErrorDescription}
	switch e.code {
	case upnpNotAllowed:
		e.text = "it is not allowed; look for UPnP in the gateway's settings"
	case upnpConflict:
		e.text = "another machine has the port"
	case upnpSamePorts:
		e.text = "it maps a port to the same port only"
	}
	e.text = strings.ToValidUTF8(e.text[:min(len(e.text), maxErrorText)], "")
	return e
}

// upnpCode is the error code of what plain returned, 0 if there is none.
func upnpCode(err error) int {
	var e *upnpError
	if errors.As(err, &e) {
		return e.code
	}
	return 0
}
