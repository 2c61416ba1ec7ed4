package reach

import (
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func at(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func TestVotesNeedSeveralNetworks(t *testing.T) {
	now := time.Now()
	us, lie := addr("203.0.113.7"), addr("198.51.100.66")
	var v votes
	for i := range 100 { // one network
		v.add(Peer, addr(fmt.Sprintf("1.2.%d.1", i)), lie, now)
	}
	v.add(DHT, addr("1.2.3.4"), lie, now)
	if got := v.winner(now); got.IsValid() {
		t.Errorf("two voters make %v", got)
	}
	for i := range 3 {
		v.add(Peer, addr(fmt.Sprintf("5.%d.0.1", i)), us, now)
	}
	if got := v.winner(now); got != us {
		t.Errorf("of three against two: %v", got)
	}
	v.add(Tracker, addr("9.9.9.9"), lie, now)
	if got := v.winner(now); got.IsValid() {
		t.Errorf("of three against three: %v", got)
	}
	v.add(Tracker, addr("9.9.1.1"), us, now) // it has changed its mind
	if got := v.winner(now); got != us {
		t.Errorf("of four against two: %v", got)
	}
	if got := v.winner(now.Add(voteLife + 1)); got.IsValid() {
		t.Errorf("after all have expired: %v", got)
	}
	for _, private := range []string{"10.0.0.1", "192.168.1.1", "127.0.0.1", "fe80::1"} {
		if v.add(Peer, addr(private), us, now) || v.add(Peer, addr("7.7.7.7"), addr(private), now) {
			t.Errorf("%s votes, or is voted for", private)
		}
	}
	for i := range 10 * maxVoters {
		v.add(DHT, addr(fmt.Sprintf("%d.%d.0.1", 20+i/250, i%250)), lie, now.Add(time.Duration(i)))
	}
	if n := len(v[DHT]); n != maxVoters {
		t.Errorf("%d voters are kept", n)
	}
	if _, old := v[DHT][netip.MustParsePrefix("20.0.0.0/16")]; old {
		t.Error("the oldest voter is kept")
	}
}

// quiet is a Reach that sees no interfaces.
func quiet(t *testing.T, cfg Config) *Reach {
	cfg.Port = 6881
	if cfg.Interfaces == nil {
		cfg.Interfaces = func() ([]net.Interface, error) { return nil, nil }
	}
	r := New(cfg)
	t.Cleanup(r.Close)
	return r
}

// What is announced, as answers of STUN servers, gateways and peers come in.
func TestAnnouncedPort(t *testing.T) {
	answer := func(server, mapped string) Reflection { return Reflection{at(server), at(mapped)} }
	one := []Reflection{answer("1.1.1.1:3478", "203.0.113.7:40000")}
	two := append(one[:1:1], answer("2.2.2.2:3478", "203.0.113.7:40000"))
	symmetric := append(one[:1:1], answer("2.2.2.2:3478", "203.0.113.7:40001"))
	type step struct {
		do    func(*Reach)
		port  uint16
		known bool
	}
	stun := func(answers []Reflection) func(*Reach) { return func(r *Reach) { r.Reflected(answers) } }
	gateway := func(m Mapping) func(*Reach) { return func(r *Reach) { r.Mapped(true, m) } }
	public, private := addr("203.0.113.7"), addr("100.64.0.9")
	for _, test := range []struct {
		name  string
		cfg   Config
		steps []step
	}{
		{"two servers agree, then the NAT shows another port", Config{TCP: true, UTP: true}, []step{
			{stun(one), 6881, false}, {stun(two), 40000, true}, {stun(one), 40000, true}, {stun(symmetric), 6881, false}, {stun(one), 6881, false},
		}},
		{"servers that answer no more", Config{TCP: true, UTP: true}, []step{
			{stun(two), 40000, true}, {stun(nil), 40000, true}, {stun(nil), 40000, true}, {stun(nil), 6881, false},
		}},
		{"one server by two names", Config{TCP: true, UTP: true}, []step{
			{stun(append(one[:1:1], answer("1.1.1.1:19302", "203.0.113.7:40000"))), 6881, false},
		}},
		{"without uTP a port for UDP is of no use", Config{TCP: true}, []step{{stun(two), 6881, false}}},
		{"a gateway's port wins, until it is gone", Config{TCP: true, UTP: true}, []step{
			{stun(two), 40000, true}, {gateway(Mapping{public, 50000, 50001}), 50000, true}, {gateway(Mapping{}), 40000, true},
		}},
		{"a gateway behind a NAT", Config{TCP: true, UTP: true}, []step{
			{gateway(Mapping{private, 50000, 50000}), 50000, false}, {stun(two), 40000, true},
		}},
		{"a gateway that maps UDP only", Config{TCP: true, UTP: true}, []step{{gateway(Mapping{public, 0, 50001}), 50001, true}}},
		{"without TCP", Config{UTP: true}, []step{{gateway(Mapping{public, 50000, 50001}), 50001, true}}},
		{"a port that the user has forwarded", Config{TCP: true, UTP: true}, []step{
			{stun(two), 40000, true},
			{func(r *Reach) { r.Came(addr("192.168.1.5")) }, 40000, true},
			{func(r *Reach) { r.Came(addr("5.5.5.5")) }, 6881, true},
		}},
		{"a peer that came by a gateway's port says nothing of ours", Config{TCP: true, UTP: true}, []step{
			{stun(two), 40000, true},
			{gateway(Mapping{public, 50000, 50000}), 50000, true},
			{func(r *Reach) { r.Came(addr("5.5.5.5")) }, 50000, true},
			{gateway(Mapping{}), 40000, true},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := quiet(t, test.cfg)
			for i, s := range test.steps {
				before, changed := r.Announced()
				s.do(r)
				got, _ := r.Announced()
				if got.Port(true) != s.port || got.Known(true) != s.known || got.Port(false) != 6881 {
					t.Errorf("step %d: %+v, want port %d, known %v", i, got, s.port, s.known)
				}
				select {
				case <-changed:
					if got == before {
						t.Errorf("step %d: a change is told that is none", i)
					}
				default:
					if got != before {
						t.Errorf("step %d: a change is not told", i)
					}
				}
			}
		})
	}
}

func TestFamiliesAreApart(t *testing.T) {
	r := quiet(t, Config{TCP: true, UTP: true})
	r.Reflected([]Reflection{
		{at("1.1.1.1:1"), at("203.0.113.7:40000")}, {at("2.2.2.2:1"), at("203.0.113.7:40000")},
		{at("[2620::1]:1"), at("[2001:db8::7]:6881")}, {at("[2621::1]:1"), at("[2001:db8::7]:6881")},
	})
	want := Announced{Port4: 40000, Port6: 6881, Known4: true, Known6: true, IP4: addr("203.0.113.7"), IP6: addr("2001:db8::7")}
	if got, _ := r.Announced(); got != want {
		t.Errorf("%+v", got)
	}
	for _, voter := range []string{"5.5.0.1", "6.6.0.1", "7.7.0.1", "8.8.0.1"} {
		r.Heard(Peer, addr(voter), addr("198.51.100.66"))
	}
	if got, _ := r.Announced(); got != want {
		t.Errorf("peers overrule STUN servers: %+v", got)
	}
}

// A NAT is shown often enough that its mapping is used; where there is none, or no answer,
// servers are left alone for longer.
func TestMappingIsKeptOpen(t *testing.T) {
	for _, test := range []struct {
		name  string
		round []Reflection
		want  time.Duration
	}{
		{"NAT", []Reflection{{at("1.1.1.1:1"), at("203.0.113.7:40000")}}, keepInterval},
		{"no answer", nil, silentInterval},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var r *Reach
				var asked []time.Time
				r = New(Config{
					Port: 1, Interfaces: func() ([]net.Interface, error) { return nil, nil },
					Ask: func() {
						asked = append(asked, time.Now())
						r.Reflected(test.round)
						time.Sleep(time.Millisecond) // it is quick, but takes some time
					},
				})
				defer r.Close()
				r.Reflected(test.round)
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				for i := 1; i < len(asked); i++ {
					if pause := asked[i].Sub(asked[i-1]); pause != test.want {
						t.Errorf("asked after %v, want %v", pause, test.want)
					}
				}
				if len(asked) < int(10*time.Minute/test.want)-1 {
					t.Errorf("asked %d times in 10 minutes", len(asked))
				}
			})
		})
	}
}

// The interfaces of the system are looked at, and a change has the servers asked at once. A
// change is made by having none at first.
func TestInterfacesThatComeAndGo(t *testing.T) {
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	if found, _ := localAddrs(func() ([]net.Interface, error) { return all, nil }); len(found) == 0 {
		t.Skip("this machine has loopback only")
	}
	synctest.Test(t, func(t *testing.T) {
		var there atomic.Bool
		var asked, told atomic.Int32
		r := New(Config{
			Port: 1,
			Interfaces: func() ([]net.Interface, error) {
				if there.Load() {
					return all, nil
				}
				return nil, nil
			},
			Ask: func() { asked.Add(1) }, OnNetwork: func() { told.Add(1) },
		})
		defer r.Close()
		for _, voter := range []string{"5.5.0.1", "6.6.0.1", "7.7.0.1"} {
			r.Heard(Peer, addr(voter), addr("203.0.113.7"))
		}
		for i, now := range []bool{true, false} {
			there.Store(now)
			time.Sleep(2 * lookInterval)
			synctest.Wait()
			if asked.Load() != int32(i+1) || told.Load() != int32(i+1) {
				t.Errorf("change %d: asked %d times, told %d", i, asked.Load(), told.Load())
			}
		}
		if got, _ := r.Announced(); got.IP4.IsValid() {
			t.Errorf("votes of another network count: %+v", got)
		}
	})
}
