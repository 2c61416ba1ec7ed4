package realpeer

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/causeway-bt/causeway/bench/proc"
)

func launchAria2(ctx context.Context, dir string, o Options) (*Peer, error) {
	if len(o.Peers) > 0 {
		return nil, errors.New("aria2 cannot be told a peer's address: use a tracker, the DHT, or dial it")
	}
	process, err := proc.Start(proc.Spec{Path: string(Aria2), Args: aria2Args(dir, o)})
	if err != nil {
		return nil, err
	}
	if err := poll(ctx, process, "aria2 to listen", func() bool { return accepts(o.Host, o.Port) }); err != nil {
		process.Kill()
		return nil, err
	}
	return &Peer{Process: process, waitComplete: func(ctx context.Context) error {
		if o.Seed {
			return nil
		}
		// Told to seed for no time (--seed-time=0), aria2 ends when it has everything.
		if err := process.Wait(ctx); err != nil {
			return fmt.Errorf("aria2's download: %w\n%s", err, process.Output())
		}
		return nil
	}}, nil
}

func aria2Args(dir string, o Options) []string {
	onOff := strconv.FormatBool
	port := strconv.Itoa(o.Port)
	args := []string{
		"--no-conf", "--quiet=false", "--console-log-level=notice", "--summary-interval=0",
		"--dir=" + o.Dir,
		"--interface=" + o.Host, "--listen-port=" + port,
		"--file-allocation=none", "--allow-overwrite=true",
		"--bt-enable-lpd=false",
		"--enable-peer-exchange=" + onOff(o.PEX),
		"--enable-dht=" + onOff(o.DHT), "--enable-dht6=false",
		"--dht-file-path=" + dir + "/dht.dat",
		"--bt-save-metadata=false", "--follow-torrent=true",
		"--bt-tracker-connect-timeout=5", "--bt-tracker-timeout=5",
	}
	if o.DHT {
		args = append(args, "--dht-listen-port="+port)
	}
	for _, n := range o.DHTNodes {
		args = append(args, "--dht-entry-point="+n)
	}
	if len(o.Trackers) > 0 {
		args = append(args, "--bt-tracker="+strings.Join(o.Trackers, ","))
	}
	switch o.Encryption {
	case Require:
		args = append(args, "--bt-force-encryption=true")
	case Prefer:
		args = append(args, "--bt-min-crypto-level=arc4")
	case Plain: // aria2 cannot refuse encryption; it tries plaintext first
	}
	if o.UpLimit > 0 {
		args = append(args, "--max-upload-limit="+strconv.FormatInt(o.UpLimit, 10))
	}
	if o.Seed {
		args = append(args, "--check-integrity=true", "--seed-ratio=0.0")
	} else {
		args = append(args, "--seed-time=0")
	}
	if o.Magnet != "" {
		return append(args, o.Magnet)
	}
	return append(args, o.Torrent)
}
