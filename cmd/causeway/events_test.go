package main

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/causeway-bt/causeway/client"
)

// Why no browser is connected is of interest to those who ask what is going on.
func TestWhyNoBrowserIsTold(t *testing.T) {
	for _, test := range []struct {
		verbose, json bool
		stdout, lines string
	}{
		{},
		{verbose: true, lines: "0102000000000000000000000000000000000000: no browser is connected: the reason\n"},
		{json: true, stdout: `"event":"warning","message":"no browser is connected: the reason","infohash":"0102`},
	} {
		var stdout, stderr bytes.Buffer
		s := &session{app: &app{in: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard, printer: newPrinter(&stdout, &stderr)}}
		s.app.verbose, s.app.json = test.verbose, test.json
		s.tell(client.NoBrowserEvent{InfoHash: [20]byte{1, 2}, Reason: "the reason"})
		if stderr.String() != test.lines || !strings.Contains(stdout.String(), test.stdout) || test.stdout == "" && stdout.Len() > 0 {
			t.Errorf("verbose %v, json %v: printed %q and %q", test.verbose, test.json, stdout.String(), stderr.String())
		}
	}
}
