package turnclient

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/stun/v4"
)

// What coturn 4.6.1 sent to this package.
const (
	coturnUnauthorized = "0113005c2112a442f2fcc86b2aef122f3daafda80009001000000401556e617574686f72697a656400150010643734373537373739643138356531320014000d63617573657761792e7465737400000080220014436f7475726e2d342e362e312027476f72737427802800048cc06088"
	coturnAllocated    = "010300582112a442d01647c7293bec29060ae71e001600080001fd815e12a443002000080001bdf65e12a443000d00040000025880220014436f7475726e2d342e362e312027476f727374270008001429dccda273ce7a61f56c0fb16aeb01a4814c2d8780280004f695aba6"
	coturnPermitted    = "010800382112a442dbc93f773924af88df579ae980220014436f7475726e2d342e362e312027476f7273742700080014668fa072bb856bfe75ca64b64cdaaff7bcfa24fe80280004ddda3155"
	coturnMismatch     = "011300542112a442ad351aad453f690d8abc86b600090030000004254d69736d61746368656420616c6c6f636174696f6e3a2077726f6e67207472616e73616374696f6e2049440080220014436f7475726e2d342e362e312027476f72737427802800040026d713"
	coturnStale        = "0114005c2112a442b98e81f373a7258d71182a4300090010000004265374616c65206e6f6e63650000150010623735353231303832346166653638650014000d63617573657761792e7465737400000080220014436f7475726e2d342e362e312027476f72737427802800043dce0cd8"
	coturnChannelData  = "4e230006616e73776572"
)

func fromHex(t testing.TB, digits string) []byte {
	t.Helper()
	b, err := hex.DecodeString(digits)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// FuzzReceive has a channel and a question, to which coturnAllocated is the answer.
func FuzzReceive(f *testing.F) {
	for _, seed := range []string{coturnUnauthorized, coturnAllocated, coturnPermitted, coturnChannelData} {
		f.Add(fromHex(f, seed))
	}
	f.Add(append(fromHex(f, coturnChannelData), 0, 0)) // as by TCP
	f.Add(indication("data", peerAt))
	f.Add(indication("data", netip.MustParseAddrPort("[2001:db8::1]:1000")))
	f.Add(check())
	const number = 0x4e23
	id := transactionID(fromHex(f, coturnAllocated)[8:stunHeader])
	f.Fuzz(func(t *testing.T, b []byte) {
		var received [][]byte
		a := New(Config{Received: func(data []byte, from netip.AddrPort) {
			if !from.IsValid() {
				t.Error("of nobody")
			}
			received = append(received, data)
		}})
		a.made.Store(true)
		a.peers.channels[number] = &peer{addr: peerAt}
		answer := make(chan *stun.Message, 1)
		a.asking.questions[id] = answer

		original := bytes.Clone(b)
		taken := a.Receive(b)
		m := &stun.Message{Raw: original}
		decoded := m.Decode() == nil
		var want bool
		switch {
		case len(original) >= channelHeader && binary.BigEndian.Uint16(original) == number:
			length := int(binary.BigEndian.Uint16(original[2:]))
			if want = length <= len(original)-channelHeader; want {
				data := original[channelHeader : channelHeader+length]
				if len(received) != 1 || !bytes.Equal(received[0], data) || cap(received[0]) != length {
					t.Errorf("received %x, want %x and no more behind it", received, data)
				}
			}
		case isSTUN(original) && original[0]&1 == 1 && transactionID(original[8:stunHeader]) == id:
			want = true
			if decoded != (len(answer) == 1) {
				t.Errorf("%d answers", len(answer))
			}
			if again := a.Receive(original); again == decoded {
				t.Errorf("taken again: %v", again)
			}
		case isSTUN(original) && decoded && m.Type == stun.NewType(stun.MethodData, stun.ClassIndication):
			want = true
		case len(received) > 0:
			t.Errorf("received %x", received)
		}
		if taken != want {
			t.Errorf("taken: %v, want %v", taken, want)
		}
	})
}

// FuzzAnswers has a server say this and then that, whatever it is asked.
func FuzzAnswers(f *testing.F) {
	for _, seed := range [][2]string{
		{coturnAllocated, coturnPermitted}, {coturnUnauthorized, coturnAllocated}, {coturnStale, coturnStale},
		{coturnMismatch, coturnAllocated}, {coturnMismatch, coturnUnauthorized},
	} {
		first, then := fromHex(f, seed[0]), fromHex(f, seed[1])
		f.Add(first[1] < 0x10, first[stunHeader:], then[1] < 0x10, then[stunHeader:])
	}
	f.Fuzz(func(t *testing.T, first bool, attributes []byte, then bool, others []byte) {
		if len(attributes) > maxTrain/2 || len(others) > maxTrain/2 {
			t.Skip("longer than a packet")
		}
		synctest.Test(t, func(t *testing.T) {
			asked := 0
			s := newServer(t, func(request *stun.Message) *stun.Message {
				succeeds, body := then, others
				if asked++; asked == 1 {
					succeeds, body = first, attributes
				}
				answer := stun.NewType(request.Type.Method, stun.ClassErrorResponse)
				if succeeds {
					answer.Class = stun.ClassSuccessResponse
				}
				m := stun.MustBuild(stun.NewTransactionIDSetter(request.TransactionID), answer)
				m.Raw = append(m.Raw, body...)
				binary.BigEndian.PutUint16(m.Raw[2:], uint16(len(body)))
				return m
			})
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			began := time.Now()
			err := s.client.Allocate(ctx)
			if err == nil && !s.client.Relayed().IsValid() {
				t.Error("at no address")
			}
			if took := time.Since(began); took > 5*time.Second || asked > 50 {
				t.Errorf("asked %d times in %v", asked, took)
			}
			if err == nil {
				s.client.Send([]byte("data"), peerAt)
				_ = s.client.Check(ctx) // it may be over
			}
		})
	})
}
