package turnclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/stun/v4"
)

const (
	// leastLifetime is the shortest life of an allocation that is believed: it is renewed at half of
	// it, and no server is asked more often for saying less.
	leastLifetime = 30 * time.Second

	// presence is how long a server has to show that it is there.
	presence = time.Second

	// coturn keeps an allocation for a second after it was asked to end it: a new one is asked for every
	// againEvery, for lastsOn.
	againEvery = 250 * time.Millisecond
	lastsOn    = 2 * time.Second

	// farewell bounds the wait of Close for the server.
	farewell = 500 * time.Millisecond
)

// requestedUDP is REQUESTED-TRANSPORT: protocol 17 (RFC 8656 section 18.8).
var requestedUDP = stun.RawAttribute{Type: stun.AttrRequestedTransport, Value: []byte{17, 0, 0, 0}}

// requestedIPv6 is REQUESTED-ADDRESS-FAMILY (RFC 8656 section 18.9).
var requestedIPv6 = stun.RawAttribute{Type: stun.AttrRequestedAddressFamily, Value: []byte{2, 0, 0, 0}}

// ended is LIFETIME of none (RFC 8656 section 7.2).
var ended = stun.RawAttribute{Type: stun.AttrLifetime, Value: []byte{0, 0, 0, 0}}

var (
	// ErrClosed means that Close was called.
	ErrClosed = errors.New("turn: closed")

	errSilent    = errors.New("no answer")
	errForgotten = errors.New("turn: the server knows nothing of the allocation")
)

// Config says where an Allocation is to be.
type Config struct {
	Username, Password string

	// IPv6 asks for an IPv6 relayed address (RFC 8656 section 4): each relays to peers of its family.
	IPv6 bool

	// Write sends a packet to the server. It must not block, nor keep the packet; what cannot be
	// sent is lost.
	Write func(packet []byte) error

	// WriteSegments sends packets to the server that follow each other in b, each of size bytes but
	// for the last, which may be shorter; nil: they go one by one.
	WriteSegments func(b []byte, size int)

	// Stream says that packets go by TCP: none is lost between here and there, and channel data is
	// padded to four bytes (RFC 8656 section 12.5).
	Stream bool

	// Received takes what a peer has sent. It must not block, nor keep data, which it may overwrite.
	// There is none before Allocate returns.
	Received func(data []byte, from netip.AddrPort)

	// Logger receives debug messages; nil: none.
	Logger *slog.Logger
}

// Allocation is a relayed address at a TURN server. Its methods may be used from any goroutine.
type Allocation struct {
	cfg     Config
	ctx     context.Context // ends with the allocation
	cancel  context.CancelCauseFunc
	wg      sync.WaitGroup
	relayed netip.AddrPort // set by Allocate
	mapped  netip.AddrPort
	made    atomic.Bool

	heard atomic.Int64 // when the server last answered, in Unix nanoseconds

	auth struct {
		sync.Mutex
		known        credentials // the newest
		used         credentials // of key
		realm, nonce string
		key          stun.MessageIntegrity // nil: the server has not asked who we are
	}

	asking struct {
		sync.Mutex
		questions map[transactionID]chan<- *stun.Message
	}

	peers peers
}

type credentials struct{ username, password string }

// New returns an Allocation to be made: packets from the server are given to Receive from now on.
func New(cfg Config) *Allocation {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.WriteSegments == nil {
		cfg.WriteSegments = func(b []byte, size int) {
			for len(b) > 0 {
				n := min(size, len(b))
				_ = cfg.Write(b[:n]) // an error is a loss
				b = b[n:]
			}
		}
	}
	a := &Allocation{cfg: cfg, peers: newPeers()}
	a.ctx, a.cancel = context.WithCancelCause(context.Background())
	a.auth.known = credentials{cfg.Username, cfg.Password}
	a.asking.questions = map[transactionID]chan<- *stun.Message{}
	return a
}

// Allocate asks for the relayed address, and keeps it until Close. Where an earlier allocation from
// the same port is left over, such as of a program that was killed, it is ended if it was of the same
// user. Errors of the server's are a *ResponseError.
func (a *Allocation) Allocate(ctx context.Context) error {
	attributes := []stun.Setter{requestedUDP}
	if a.cfg.IPv6 {
		attributes = append(attributes, requestedIPv6)
	}
	response, err := a.allocate(ctx, attributes)
	if err != nil {
		return err
	}
	if a.relayed, err = addressOf(response, stun.AttrXORRelayedAddress); err != nil {
		return fmt.Errorf("turn: the relayed address: %w", err)
	}
	if !isSomebodys(a.relayed) {
		return fmt.Errorf("turn: %v is no relayed address", a.relayed)
	}
	if mapped, err := addressOf(response, stun.AttrXORMappedAddress); err == nil && isSomebodys(mapped) {
		a.mapped = mapped
	}
	lifetime, err := lifetimeOf(response)
	if err != nil {
		return err
	}
	a.made.Store(true)
	a.wg.Go(func() { a.keep(lifetime) })
	a.wg.Go(a.tend)
	return nil
}

func (a *Allocation) allocate(ctx context.Context, attributes []stun.Setter) (*stun.Message, error) {
	response, err := a.do(ctx, stun.MethodAllocate, attributes...)
	if !is(err, stun.CodeAllocMismatch) {
		return response, err
	}
	_, failed := a.do(ctx, stun.MethodRefresh, ended)
	if failed != nil && !is(failed, stun.CodeAllocMismatch) { // which is: nothing is left
		return nil, errors.Join(err, failed)
	}
	for range lastsOn / againEvery {
		if response, err = a.do(ctx, stun.MethodAllocate, attributes...); !is(err, stun.CodeAllocMismatch) {
			break
		}
		select {
		case <-time.After(againEvery):
		case <-ctx.Done():
			return nil, err
		}
	}
	return response, err
}

// Relayed is the address from which the server relays, once Allocate has returned.
func (a *Allocation) Relayed() netip.AddrPort { return a.relayed }

// Mapped is where the server sees us; invalid if it did not tell.
func (a *Allocation) Mapped() netip.AddrPort { return a.mapped }

// Done is closed when the allocation is over: by Close, or because the server has ended it or was
// silent until it must have.
func (a *Allocation) Done() <-chan struct{} { return a.ctx.Done() }

// Err says why the allocation is over.
func (a *Allocation) Err() error { return context.Cause(a.ctx) }

// SetCredentials tells newer credentials for the same server, to be used should it refuse the ones
// in use: those that end after some time (draft-uberti-behave-turn-rest-00) are renewed so.
func (a *Allocation) SetCredentials(username, password string) {
	a.auth.Lock()
	defer a.auth.Unlock()
	a.auth.known = credentials{username, password}
}

// Fresh reports whether the server has answered within this time.
func (a *Allocation) Fresh(within time.Duration) bool {
	return time.Since(time.Unix(0, a.heard.Load())) < within
}

// Check asks the server whether the allocation is still there, and ends it if it is not. It may take
// two seconds more than ctx.
func (a *Allocation) Check(ctx context.Context) error {
	_, err := a.refresh(ctx)
	return err
}

// Fail ends the allocation because there is no way to the server any more.
func (a *Allocation) Fail(err error) { a.cancel(err) }

// Close ends the allocation, and tells the server.
func (a *Allocation) Close() error {
	if a.ctx.Err() == nil {
		ctx, cancel := context.WithTimeout(a.ctx, farewell)
		defer cancel()
		_, _ = a.do(ctx, stun.MethodRefresh, ended) // else it ends by itself, in ten minutes
	}
	a.peers.Lock() // nothing is begun after that
	a.cancel(ErrClosed)
	a.peers.Unlock()
	a.wg.Wait()
	return nil
}

// keep renews the allocation until it is over.
func (a *Allocation) keep(lifetime time.Duration) {
	until, wait := time.Now().Add(lifetime), max(lifetime, leastLifetime)/2
	for {
		select {
		case <-time.After(wait):
		case <-a.ctx.Done():
			return
		}
		renewed, err := a.refresh(a.ctx)
		switch {
		case err == nil:
			until, wait = time.Now().Add(renewed), max(renewed, leastLifetime)/2
		case time.Now().Before(until):
			wait = leastLifetime / 2
		default:
			a.cancel(err)
			return
		}
	}
}

// refresh renews the allocation, or ends it if it is not there any more: the server says so, or is silent
// about it alone, as pion's is to those of whom it has no allocation.
func (a *Allocation) refresh(ctx context.Context) (lifetime time.Duration, err error) {
	lifetime, err = a.refreshOnce(ctx)
	if errors.Is(err, errSilent) && !errors.Is(ctx.Err(), context.Canceled) && a.present() {
		again, cancel := context.WithTimeout(a.ctx, presence)
		defer cancel()
		if lifetime, err = a.refreshOnce(again); errors.Is(err, errSilent) {
			err = errForgotten
		}
	}
	var refusal *ResponseError
	if errors.Is(err, errForgotten) || errors.As(err, &refusal) && refusal.Code < stun.CodeServerError {
		a.cancel(err)
	}
	return lifetime, err
}

func (a *Allocation) refreshOnce(ctx context.Context) (time.Duration, error) {
	response, err := a.do(ctx, stun.MethodRefresh)
	if err != nil {
		return 0, err
	}
	return lifetimeOf(response)
}

// present reports whether the server answers at all.
func (a *Allocation) present() bool {
	ctx, cancel := context.WithTimeout(a.ctx, presence)
	defer cancel()
	_, _, err := a.ask(ctx, stun.MethodBinding, nil)
	return err == nil
}
