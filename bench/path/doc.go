// Package path puts a long, narrow and lossy path between two hosts on one machine, for
// tests of behaviour and for measurements: two network namespaces, and a forwarder, a
// process of its own, that carries each packet from one to the other. Linux only, and as root.
//
// Each direction is a link of its own: packets are lost at random, wait in a drop-tail queue
// for a rate to be kept, take half a round trip, and a share of them comes late, so that
// others overtake it. What counts towards the rate is the IP packet.
//
// The forwarder sits between two TAP devices, which the hosts see as eth0. The kernel
// completes checksums and cuts segments before it hands a packet to a TAP, so there are no
// offloads to switch off; what the hosts say to each other is at most an MTU long. There is no
// ARP, and so none that is lost.
//
// It is no model of a network: no cross traffic, one bottleneck a direction, no marks (ECN).
//
//	p, err := path.New(ctx, path.Config{Rate: 12.5e6, RTT: 50 * time.Millisecond, Loss: 0.005})
//	defer p.Close()
//	server := p.A().Command(ctx, "iperf3", "-s")             // at p.A().IP
//	client := p.B().Command(ctx, "iperf3", "-c", p.A().IP)
//	err = p.B().Do(func() (err error) { conn, err = net.Dial("tcp", ...); return })
//	p.Counters()
//
// By hand: go run ./bench/path/run -rate 12.5e6 -rtt 50ms -loss 0.005.
package path
