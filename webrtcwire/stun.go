package webrtcwire

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/stun/v4"
)

// stunSchedule is when a question to a STUN server is repeated, and the wait
// after the last (RFC 8489 section 6.2.1, cut short: the answer is of use soon).
var stunSchedule = [...]time.Duration{500 * time.Millisecond, time.Second, 1500 * time.Millisecond}

var errSTUNSilent = errors.New("no answer")

// asker puts questions to STUN servers over a socket that others use, too.
type asker struct {
	write     func(b []byte, to netip.AddrPort) (int, error)
	mu        sync.Mutex
	questions map[transactionID]chan<- netip.AddrPort // that wait for an answer; each has room for one
}

func newAsker(write func([]byte, netip.AddrPort) (int, error)) asker {
	return asker{write: write, questions: map[transactionID]chan<- netip.AddrPort{}}
}

// answered takes a response if it is to one of the questions. Only who was asked knows the
// transaction: it may answer from another of its addresses.
func (a *asker) answered(b []byte) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	id := transaction(b)
	q, asked := a.questions[id]
	if !asked {
		return false
	}
	if mapped, ok := mappedAddress(b); ok {
		delete(a.questions, id)
		q <- mapped
	}
	return true
}

// ask asks a STUN server under which address it sees the socket.
func (a *asker) ask(ctx context.Context, server netip.AddrPort) (netip.AddrPort, error) {
	request, err := stun.Build(stun.TransactionID, stun.BindingRequest)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("build a STUN request: %w", err)
	}
	id := transactionID(request.TransactionID)
	answer := make(chan netip.AddrPort, 1)
	a.mu.Lock()
	a.questions[id] = answer
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		delete(a.questions, id)
		a.mu.Unlock()
	}()
	for _, wait := range stunSchedule {
		if _, err := a.write(request.Raw, server); err != nil {
			return netip.AddrPort{}, err
		}
		timer := time.NewTimer(wait)
		select {
		case addr := <-answer:
			timer.Stop()
			return addr, nil
		case <-ctx.Done():
			timer.Stop()
			return netip.AddrPort{}, ctx.Err()
		case <-timer.C:
		}
	}
	return netip.AddrPort{}, errSTUNSilent
}

// mappedAddress reads a STUN server's answer.
func mappedAddress(b []byte) (netip.AddrPort, bool) {
	message := &stun.Message{Raw: append([]byte(nil), b...)}
	if message.Decode() != nil || message.Type != stun.BindingSuccess {
		return netip.AddrPort{}, false
	}
	var mapped stun.XORMappedAddress
	if mapped.GetFrom(message) != nil {
		return netip.AddrPort{}, false
	}
	ip, ok := netip.AddrFromSlice(mapped.IP)
	if !ok || mapped.Port <= 0 || mapped.Port > 65535 {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(mapped.Port)), true
}
