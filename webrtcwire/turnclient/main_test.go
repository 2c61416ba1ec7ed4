package turnclient

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v4"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testTimeout ends a test that hangs.
const testTimeout = 20 * time.Second

// packet is what a peer got, or sent.
type packet struct {
	data string
	peer netip.AddrPort
}

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	t.Cleanup(cancel)
	return ctx
}

// check is a packet such as ICE sends, of which there are many to addresses that are no use.
func check() []byte { return stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw }

// kind names a packet to or from a server.
func kind(b []byte) string {
	if isChannelData(b) {
		return "channel data"
	}
	m := &stun.Message{Raw: b}
	if m.Decode() != nil {
		return "?"
	}
	var refusal stun.ErrorCodeAttribute
	if m.Type.Class == stun.ClassErrorResponse && refusal.GetFrom(m) == nil {
		return fmt.Sprintf("%v %d", m.Type, refusal.Code)
	}
	return m.Type.String()
}
