package webrtcwire

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/pion/stun/v4"
)

// stunSchedule is when a question to a STUN server is repeated, and the wait
// after the last (RFC 8489 section 6.2.1, cut short: the answer is of use soon).
var stunSchedule = [...]time.Duration{500 * time.Millisecond, time.Second, 1500 * time.Millisecond}

var errSTUNSilent = errors.New("no answer")

// ask asks a STUN server under which address it sees the shared socket.
func (m *mux) ask(ctx context.Context, server netip.AddrPort) (netip.AddrPort, error) {
	request, err := stun.Build(stun.TransactionID, stun.BindingRequest)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("build a STUN request: %w", err)
	}
	id := transactionID(request.TransactionID)
	answer := make(chan netip.AddrPort, 1)
	m.mu.Lock()
	m.questions[id] = answer
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		delete(m.questions, id)
		m.mu.Unlock()
	}()
	for _, wait := range stunSchedule {
		if _, err := m.write(request.Raw, server); err != nil {
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
