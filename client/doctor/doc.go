// Package doctor finds out what works of a client where it runs, and what to do about the
// rest: ports, NAT, gateway, DHT, trackers, WebRTC, disk, and why a torrent finds no peers.
//
//	report, err := doctor.Run(ctx, doctor.Config{Client: cfg, Dir: "."})
//	for _, c := range report.Checks { fmt.Println(c.State, c.Name, c.Text, c.Advice) }
//
// It runs a client as a download would, and looks at it; nobody is contacted whom a download
// with the same configuration would not contact, but for the second address that a STUN server
// names as its own (OTHER-ADDRESS of RFC 5780), which tells the kinds of NATs apart. All checks
// run side by side, within a bounded time.
package doctor
