package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/causeway-bt/causeway/client"
	"github.com/causeway-bt/causeway/client/doctor"
)

func (a *app) doctorCommand() *cobra.Command {
	var engine engineFlags
	var out string
	cmd := &cobra.Command{
		Use:        "doctor [SOURCE]",
		SuggestFor: []string{"check", "diagnose", "test", "status", "debug"},
		Short:      "Find out what works here, and what to do about the rest",
		Long: `Find out what works here, and what to do about the rest: ports, IPv4 and IPv6, the
kind of NAT and the port mapped at the router, TCP, UDP, DHT, trackers (those of --tracker
and of SOURCE), WebRTC with its STUN and TURN servers, the clock, the limit of open files,
the disk of -o and the state folder. With SOURCE, also what is known of the torrent, and why
there are no peers if there are none.

It takes some ten seconds, and contacts nobody whom a download with the same flags would
not contact, but for the second address of a STUN server that has one. It ends with status 1
if something that matters is broken.`,
		Example: `  causeway doctor
  causeway doctor 'magnet:?xt=urn:btih:...' --tracker udp://tracker.example:6969`,
		Args:              arguments(0, 1, "at most one magnet link, .torrent file, URL or infohash"),
		ValidArgsFunction: completeSource(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.doctor(cmd.Context(), args, out, &engine)
		},
	}
	flags := cmd.Flags()
	group(flags, groupStorage, func() { addOut(flags, &out) })
	engine.add(flags)
	for _, name := range []string{"preallocate", "slots", "web-slots", "up-limit", "down-limit"} { // of data, which is not fetched
		flags.Lookup(name).Hidden = true
	}
	return cmd
}

func (a *app) doctor(ctx context.Context, sources []string, out string, engine *engineFlags) error {
	config, err := a.config(engine, func(client.Event) {})
	if err != nil {
		return err
	}
	look := doctor.Config{Client: config, Dir: out, Peers: engine.peers, Trackers: engine.trackerList(), OpenFiles: openFiles()}
	if len(sources) > 0 {
		if look.Source, err = a.load(ctx, sources[0], engine.listen); err != nil {
			return err
		}
	}
	a.line("looking, for some ten seconds")
	report, err := doctor.Run(ctx, look)
	if err != nil {
		return err
	}
	for _, c := range report.Checks {
		a.event("check", checkEvent{c.Name, string(c.State), c.Text, c.Advice, c.Details})
	}
	diagnosis := diagnosisEvent{State: string(report.State), Message: report.Text, Broken: []string{}, Weak: []string{}}
	for _, c := range report.Checks {
		switch c.State {
		case doctor.Fail:
			diagnosis.Broken = append(diagnosis.Broken, c.Name)
		case doctor.Warn:
			diagnosis.Weak = append(diagnosis.Weak, c.Name)
		}
	}
	a.event("diagnosis", diagnosis)
	a.result(doctorPage(report))
	if report.State == doctor.Fail {
		return toldError{errors.New(report.Text)}
	}
	return nil
}

// checkEvent is what was found out about one thing.
type checkEvent struct {
	Check   string `json:"check"`
	State   string `json:"state"` // "ok", "warn", "fail" or "none"
	Message string `json:"message"`
	Advice  string `json:"advice,omitempty"`
	Details any    `json:"details,omitempty"`
}

// diagnosisEvent is the end of it.
type diagnosisEvent struct {
	State   string   `json:"state"` // the worst of the checks': "ok", "warn" or "fail"
	Message string   `json:"message"`
	Broken  []string `json:"broken"` // checks
	Weak    []string `json:"weak"`
}

// marks are how states look on the page.
var marks = map[doctor.State]string{doctor.OK: "ok", doctor.Warn: "warn", doctor.Fail: "FAIL", doctor.None: "-"}

// doctorPage is what people get: a line for each check, and what to do below it.
func doctorPage(r *doctor.Report) string {
	var b strings.Builder
	const indent = "                  "
	for _, c := range r.Checks {
		fmt.Fprintf(&b, "%-4s  %-10s  %s\n", marks[c.State], c.Name, strings.Map(printable, strings.ReplaceAll(c.Text, "\n", " ")))
		if c.Advice != "" && c.State != doctor.OK {
			fmt.Fprintf(&b, "%s-> %s\n", indent, strings.Map(printable, strings.ReplaceAll(c.Advice, "\n", " ")))
		}
	}
	fmt.Fprintf(&b, "\n%s", r.Text)
	return b.String()
}
