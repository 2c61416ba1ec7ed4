package reach

import (
	"net/netip"
	"slices"
	"testing"
)

// TestEntries: a mapped port is told with the address at which the world finds it, as long as it
// is mapped, and none that the world does not reach or whose address nobody knows.
func TestEntries(t *testing.T) {
	public, other, private := addr("203.0.113.7"), addr("203.0.113.8"), addr("100.64.0.9")
	heard := func(r *Reach) {
		for _, voter := range []string{"5.5.0.1", "6.6.0.1", "7.7.0.1"} {
			r.Heard(Peer, addr(voter), other)
		}
	}
	gateway := func(m Mapping) func(*Reach) { return func(r *Reach) { r.Mapped(true, m) } }
	came := func(r *Reach) { r.Came(addr("5.5.5.5")) }
	tcp := func(s string) Entry { return Entry{true, at(s)} }
	udp := func(s string) Entry { return Entry{false, at(s)} }
	type step struct {
		do   func(*Reach)
		want []Entry
	}
	for _, test := range []struct {
		name  string
		steps []step
	}{
		{"a gateway's ports, which move and go", []step{
			{gateway(Mapping{public, 50000, 50001}), []Entry{tcp("203.0.113.7:50000"), udp("203.0.113.7:50001")}},
			{gateway(Mapping{other, 50000, 0}), []Entry{tcp("203.0.113.8:50000")}},
			{gateway(Mapping{}), nil},
		}},
		{"a gateway that does not tell its address", []step{
			{gateway(Mapping{netip.Addr{}, 50000, 50000}), nil},
			{heard, []Entry{tcp("203.0.113.8:50000"), udp("203.0.113.8:50000")}},
		}},
		{"a gateway behind a NAT, and then a port forwarded by both", []step{
			{heard, nil}, {gateway(Mapping{private, 50000, 50000}), nil},
			{gateway(Mapping{private, 0, 50000}), nil}, {came, []Entry{tcp("203.0.113.8:6881")}},
		}},
		{"a port that the user has forwarded", []step{{came, nil}, {heard, []Entry{tcp("203.0.113.8:6881")}}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := quiet(t, Config{TCP: true, UTP: true})
			for i, s := range test.steps {
				s.do(r)
				if got := r.Entries(); !slices.Equal(got, s.want) {
					t.Errorf("step %d: %v, want %v", i, got, s.want)
				}
			}
		})
	}
}
