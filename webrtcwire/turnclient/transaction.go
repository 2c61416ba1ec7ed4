package turnclient

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/pion/stun/v4"
)

const (
	// firstWait is how long the first answer is waited for before a request is repeated, after twice
	// the time each, and patience the time in all (RFC 8489 section 6.2.1, shortened: 39.5 s there).
	firstWait = 250 * time.Millisecond
	patience  = 12 * time.Second

	// authTries is how often a request is made again with what the server asks for.
	authTries = 4
)

// transactionID pairs a response with its request.
type transactionID [stun.TransactionIDSize]byte

// ResponseError is a server's refusal.
type ResponseError struct {
	Method stun.Method
	Code   stun.ErrorCode
	Reason string
}

func (e *ResponseError) Error() string {
	return fmt.Sprintf("turn: %v: %d %s", e.Method, e.Code, e.Reason)
}

// is reports whether err is a refusal with this code.
func is(err error, code stun.ErrorCode) bool {
	var refusal *ResponseError
	return errors.As(err, &refusal) && refusal.Code == code
}

// do makes a request, with the credentials that the server asks for (RFC 8489 section 9.2), and
// returns the success response.
func (a *Allocation) do(ctx context.Context, method stun.Method, attributes ...stun.Setter) (*stun.Message, error) {
	var err error
	for range authTries {
		response, key, failed := a.ask(ctx, method, attributes)
		switch {
		case failed != nil:
			return nil, fmt.Errorf("turn: %v: %w", method, failed)
		case response.Type.Class == stun.ClassSuccessResponse:
			if key != nil {
				if err := key.Check(response); err != nil {
					return nil, fmt.Errorf("turn: %v: the response: %w", method, err)
				}
			}
			return response, nil
		}
		refusal := refusalOf(method, response)
		err = refusal
		if again := a.authenticate(refusal.Code, response, key); !again {
			break
		}
	}
	if is(err, stun.CodeAllocMismatch) && a.made.Load() {
		a.cancel(err) // the server knows of no allocation
	}
	return nil, err
}

func refusalOf(method stun.Method, response *stun.Message) *ResponseError {
	refusal := &ResponseError{Method: method}
	var attribute stun.ErrorCodeAttribute
	if attribute.GetFrom(response) == nil {
		refusal.Code, refusal.Reason = attribute.Code, string(attribute.Reason)
	}
	return refusal
}

// authenticate takes what a refusal asks for; true: the request, which was signed with used, may be made
// again.
func (a *Allocation) authenticate(code stun.ErrorCode, response *stun.Message, used stun.MessageIntegrity) bool {
	var realm stun.Realm
	var nonce stun.Nonce
	if nonce.GetFrom(response) != nil {
		nonce = nil
	}
	a.auth.Lock()
	defer a.auth.Unlock()
	auth := &a.auth
	switch {
	case code == stun.CodeStaleNonce && nonce != nil:
		auth.nonce = string(nonce)
		return true
	case code != stun.CodeUnauthorized && code != stun.CodeWrongCredentials:
		return false
	case !bytes.Equal(used, auth.key): // another request has found out
		return true
	case auth.key != nil && auth.used == auth.known: // these are what it refuses
		return false
	case realm.GetFrom(response) == nil:
		auth.realm = string(realm)
	case auth.key == nil:
		return false
	}
	if nonce != nil {
		auth.nonce = string(nonce)
	}
	auth.used = auth.known
	auth.key = stun.NewLongTermIntegrity(auth.known.username, auth.realm, auth.known.password)
	return true
}

// ask sends a request until there is an answer. key is what a success is signed with; nil: nothing.
func (a *Allocation) ask(ctx context.Context, method stun.Method, attributes []stun.Setter) (response *stun.Message, key stun.MessageIntegrity, err error) {
	all := append([]stun.Setter{stun.TransactionID, stun.NewType(method, stun.ClassRequest)}, attributes...)
	a.auth.Lock()
	if key = a.auth.key; key != nil {
		all = append(all, stun.NewUsername(a.auth.used.username), stun.NewRealm(a.auth.realm), stun.NewNonce(a.auth.nonce), key)
	}
	a.auth.Unlock()
	request, err := stun.Build(append(all, stun.Fingerprint)...)
	if err != nil {
		return nil, nil, err
	}
	id := transactionID(request.TransactionID)
	answer := make(chan *stun.Message, 1)
	a.asking.Lock()
	a.asking.questions[id] = answer
	a.asking.Unlock()
	defer func() {
		a.asking.Lock()
		delete(a.asking.questions, id)
		a.asking.Unlock()
	}()
	response, err = a.await(ctx, request.Raw, answer)
	return response, key, err
}

func (a *Allocation) await(ctx context.Context, request []byte, answer <-chan *stun.Message) (*stun.Message, error) {
	over := time.NewTimer(patience)
	defer over.Stop()
	for wait := firstWait; ; wait *= 2 {
		if err := a.cfg.Write(request); err != nil && !a.made.Load() { // later, it is a loss
			return nil, fmt.Errorf("%w: %w", errSilent, err)
		}
		again := time.NewTimer(wait)
		select {
		case response := <-answer:
			again.Stop()
			a.heard.Store(time.Now().UnixNano())
			return response, nil
		case <-again.C:
			continue
		case <-over.C:
		case <-ctx.Done():
			again.Stop()
			return nil, fmt.Errorf("%w: %w", errSilent, context.Cause(ctx))
		case <-a.ctx.Done():
			again.Stop()
			return nil, a.Err()
		}
		again.Stop()
		return nil, errSilent
	}
}

// answered takes a response if it is to a request of ours, which only the server knows of.
func (a *Allocation) answered(b []byte) bool {
	a.asking.Lock()
	defer a.asking.Unlock()
	id := transactionID(b[8:stunHeader])
	answer, asked := a.asking.questions[id]
	if !asked {
		return false
	}
	message := &stun.Message{Raw: append([]byte(nil), b...)}
	if message.Decode() == nil {
		delete(a.asking.questions, id)
		answer <- message
	}
	return true
}

func lifetimeOf(response *stun.Message) (time.Duration, error) {
	value, err := response.Get(stun.AttrLifetime)
	if err != nil || len(value) != 4 {
		return 0, errors.New("turn: the server tells no lifetime")
	}
	return time.Duration(binary.BigEndian.Uint32(value)) * time.Second, nil
}

// addressOf reads an address with XOR (RFC 8489 section 14.2).
func addressOf(message *stun.Message, attribute stun.AttrType) (netip.AddrPort, error) {
	var mapped stun.XORMappedAddress
	if err := mapped.GetFromAs(message, attribute); err != nil {
		return netip.AddrPort{}, err
	}
	ip, ok := netip.AddrFromSlice(mapped.IP)
	if !ok {
		return netip.AddrPort{}, errors.New("no IP address")
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(mapped.Port)), nil
}

// isSomebodys reports whether an address can be a socket's.
func isSomebodys(addr netip.AddrPort) bool {
	return addr.IsValid() && addr.Port() != 0 && !addr.Addr().IsUnspecified() && !addr.Addr().IsMulticast()
}
