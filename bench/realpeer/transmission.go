package realpeer

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/causeway-bt/causeway/bench/proc"
)

// transmission is the remote control of one daemon (transmission's rpc-spec).
type transmission struct {
	url     string
	session string // X-Transmission-Session-Id, against cross-site requests
}

func launchTransmission(ctx context.Context, dir string, o Options) (*Peer, error) {
	if len(o.Peers) > 0 {
		return nil, errors.New("transmission cannot be told a peer's address: dial it")
	}
	if o.NoTCP {
		return nil, errors.New("transmission has no way to switch TCP off")
	}
	if o.DHT {
		return nil, errors.New("transmission looks for nobody in a DHT of fewer than nine nodes")
	}
	rpcPort, err := FreePort()
	if err != nil {
		return nil, err
	}
	if err := transmissionSettings(dir, rpcPort, o); err != nil {
		return nil, err
	}
	process, err := proc.Start(proc.Spec{
		Path: string(Transmission),
		Args: []string{"--foreground", "--config-dir", dir, "--log-info"},
	})
	if err != nil {
		return nil, err
	}
	t := &transmission{url: fmt.Sprintf("http://%s:%d/transmission/rpc", loopback, rpcPort)}
	p := &Peer{Process: process, waitComplete: func(ctx context.Context) error {
		return poll(ctx, process, "transmission to have everything", func() bool { return t.complete(ctx) })
	}}
	if err := t.begin(ctx, p, o, rpcPort); err != nil {
		process.Kill()
		return nil, err
	}
	return p, nil
}

func transmissionSettings(dir string, rpcPort int, o Options) error {
	settings := map[string]any{
		"bind-address-ipv4": o.Host, "bind-address-ipv6": "::1",
		"peer-port": o.Port, "peer-port-random-on-start": false, "port-forwarding-enabled": false,
		"rpc-enabled": true, "rpc-bind-address": loopback, "rpc-port": rpcPort,
		"rpc-authentication-required": false, "rpc-host-whitelist-enabled": false,
		"encryption":  [...]int{Plain: 0, Prefer: 1, Require: 2}[o.Encryption],
		"dht-enabled": false, "pex-enabled": o.PEX, "utp-enabled": o.UTP, "lpd-enabled": false,
		"download-dir": o.Dir, "incomplete-dir-enabled": false, "rename-partial-files": false,
		"ratio-limit-enabled": false, "idle-seeding-limit-enabled": false,
		"speed-limit-up-enabled": o.UpLimit > 0, "speed-limit-up": o.UpLimit / 1000, // kB/s
		"blocklist-enabled": false, "scrape-paused-torrents-enabled": false,
	}
	b, err := json.Marshal(settings)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "settings.json"), b, 0o600)
}

// begin adds the torrent once the daemon answers, has it look at what is there
// already, and waits until it listens for peers.
func (t *transmission) begin(ctx context.Context, p *Peer, o Options, rpcPort int) error {
	if err := poll(ctx, p.Process, "transmission's remote control", func() bool { return accepts(loopback, rpcPort) }); err != nil {
		return err
	}
	add := map[string]any{"download-dir": o.Dir, "paused": false}
	if o.Magnet != "" {
		add["filename"] = o.Magnet
	} else {
		b, err := os.ReadFile(o.Torrent)
		if err != nil {
			return err
		}
		add["metainfo"] = base64.StdEncoding.EncodeToString(b)
	}
	if err := t.call(ctx, "torrent-add", add, nil); err != nil {
		return err
	}
	if len(o.Trackers) > 0 {
		if err := t.call(ctx, "torrent-set", map[string]any{"trackerAdd": o.Trackers}, nil); err != nil {
			return err
		}
	}
	if o.Seed {
		if err := t.call(ctx, "torrent-verify", map[string]any{}, nil); err != nil {
			return err
		}
		if err := p.WaitComplete(ctx); err != nil {
			return err
		}
	}
	return poll(ctx, p.Process, "transmission to listen", func() bool { return accepts(o.Host, o.Port) })
}

// complete reports whether the one torrent has all its content and no check is
// under way.
func (t *transmission) complete(ctx context.Context) bool {
	const seeding = 6 // TR_STATUS_SEED
	var got struct {
		Torrents []struct {
			Status      int     `json:"status"`
			PercentDone float64 `json:"percentDone"`
			Metadata    float64 `json:"metadataPercentComplete"`
		} `json:"torrents"`
	}
	fields := map[string]any{"fields": []string{"status", "percentDone", "metadataPercentComplete"}}
	if err := t.call(ctx, "torrent-get", fields, &got); err != nil || len(got.Torrents) != 1 {
		return false
	}
	tor := got.Torrents[0]
	return tor.Status == seeding && tor.PercentDone == 1 && tor.Metadata == 1
}

// call does one remote procedure call; into may be nil.
func (t *transmission) call(ctx context.Context, method string, arguments, into any) error {
	body, err := json.Marshal(map[string]any{"method": method, "arguments": arguments})
	if err != nil {
		return err
	}
	for try := range 5 { // the first answer may be 409, with the session id to use
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url, bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("X-Transmission-Session-Id", t.session)
		resp, err := rpcClient.Do(req)
		if errors.Is(err, syscall.ECONNRESET) && try < 4 { // it has just begun to listen
			time.Sleep(100 * time.Millisecond)
			continue
		}
		if err != nil {
			return fmt.Errorf("transmission %s: %w", method, err)
		}
		t.session = resp.Header.Get("X-Transmission-Session-Id")
		if resp.StatusCode == http.StatusConflict {
			resp.Body.Close()
			continue
		}
		var answer struct {
			Result    string          `json:"result"`
			Arguments json.RawMessage `json:"arguments"`
		}
		err = json.NewDecoder(resp.Body).Decode(&answer)
		resp.Body.Close()
		if err != nil {
			return fmt.Errorf("transmission %s: status %s: %w", method, resp.Status, err)
		}
		if answer.Result != "success" {
			return fmt.Errorf("transmission %s: %s", method, answer.Result)
		}
		if into == nil {
			return nil
		}
		return json.Unmarshal(answer.Arguments, into)
	}
	return fmt.Errorf("transmission %s: its session id %s was refused", method, strconv.Quote(t.session))
}

// rpcClient keeps no connections: idle ones would outlive the test.
var rpcClient = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
