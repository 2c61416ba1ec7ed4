package realpeer

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/causeway-bt/causeway/bench/proc"
)

// qbittorrent is the remote control of one qbittorrent-nox (its "WebUI API").
type qbittorrent struct{ url string }

// qbittorrentConfig lets its own machine in without a password.
const qbittorrentConfig = `[LegalNotice]
Accepted=true

[BitTorrent]
Session\InterfaceAddress=%[3]s
Session\Port=%[2]d
Session\QueueingSystemEnabled=false
Session\MultiConnectionsPerIp=true
Session\LSDEnabled=false
Session\DHTEnabled=false

[Network]
PortForwardingEnabled=false

[Preferences]
WebUI\Address=127.0.0.1
WebUI\Port=%[1]d
WebUI\LocalHostAuth=false
WebUI\CSRFProtection=false
WebUI\HostHeaderValidation=false
`

func launchQBittorrent(ctx context.Context, dir string, o Options) (*Peer, error) {
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	folder := filepath.Join(dir, "qBittorrent", "config")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	config := fmt.Sprintf(qbittorrentConfig, port, o.Port, o.Host)
	if err := os.WriteFile(filepath.Join(folder, "qBittorrent.conf"), []byte(config), 0o600); err != nil {
		return nil, err
	}
	process, err := proc.Start(proc.Spec{Path: string(QBittorrent), Args: []string{"--profile=" + dir}})
	if err != nil {
		return nil, err
	}
	q := &qbittorrent{fmt.Sprintf("http://%s:%d/api/v2/", loopback, port)}
	if err := q.begin(ctx, process, o, port); err != nil {
		process.Kill()
		return nil, err
	}
	return &Peer{Process: process, waitComplete: func(ctx context.Context) error {
		return poll(ctx, process, "qBittorrent to have everything", func() bool { return q.complete(ctx) })
	}}, nil
}

func (q *qbittorrent) begin(ctx context.Context, process *proc.Process, o Options, port int) error {
	if err := poll(ctx, process, "qBittorrent's remote control", func() bool { return accepts(loopback, port) }); err != nil {
		return err
	}
	protocol := 0 // TCP and uTP
	switch {
	case o.NoTCP:
		protocol = 2
	case !o.UTP:
		protocol = 1
	}
	preferences, err := json.Marshal(map[string]any{
		"bittorrent_protocol": protocol, "dht": o.DHT, "pex": o.PEX, "lsd": false, "upnp": false,
		"encryption": [...]int{Plain: 2, Prefer: 0, Require: 1}[o.Encryption],
		"up_limit":   o.UpLimit, "limit_lan_peers": o.UpLimit > 0, "limit_utp_rate": o.UpLimit > 0,
	})
	if err != nil {
		return err
	}
	if _, err := q.post(ctx, "app/setPreferences", url.Values{"json": {string(preferences)}}); err != nil {
		return err
	}
	if err := q.add(ctx, o); err != nil {
		return err
	}
	return poll(ctx, process, "qBittorrent to have the torrent", func() bool {
		all, err := q.torrents(ctx)
		if err != nil || len(all) != 1 {
			return false
		}
		_, err = q.post(ctx, "torrents/addTrackers", url.Values{"hash": {all[0].Hash}, "urls": {strings.Join(o.Trackers, "\n")}})
		if err == nil && len(o.Peers) > 0 {
			_, err = q.post(ctx, "torrents/addPeers", url.Values{"hashes": {all[0].Hash}, "peers": {strings.Join(o.Peers, "|")}})
		}
		return err == nil
	})
}

func (q *qbittorrent) add(ctx context.Context, o Options) error {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	fields := map[string]string{"savepath": o.Dir, "skip_checking": fmt.Sprint(o.Seed), "contentLayout": "Original"}
	if o.Magnet != "" {
		fields["urls"] = o.Magnet
	}
	for name, value := range fields {
		if err := form.WriteField(name, value); err != nil {
			return err
		}
	}
	if o.Torrent != "" {
		torrent, err := os.ReadFile(o.Torrent)
		if err != nil {
			return err
		}
		part, err := form.CreateFormFile("torrents", filepath.Base(o.Torrent))
		if err != nil {
			return err
		}
		if _, err := part.Write(torrent); err != nil {
			return err
		}
	}
	if err := form.Close(); err != nil {
		return err
	}
	_, err := q.call(ctx, http.MethodPost, "torrents/add", form.FormDataContentType(), &body)
	return err
}

type qbittorrentTorrent struct {
	Hash     string  `json:"hash"`
	Progress float64 `json:"progress"`
	State    string  `json:"state"`
}

func (q *qbittorrent) torrents(ctx context.Context) (all []qbittorrentTorrent, err error) {
	answer, err := q.call(ctx, http.MethodGet, "torrents/info", "", nil)
	if err != nil {
		return nil, err
	}
	return all, json.Unmarshal(answer, &all)
}

// complete reports whether the one torrent has all its content and is seeding.
func (q *qbittorrent) complete(ctx context.Context) bool {
	all, err := q.torrents(ctx)
	return err == nil && len(all) == 1 && all[0].Progress == 1 && (all[0].State == "uploading" || all[0].State == "stalledUP")
}

func (q *qbittorrent) post(ctx context.Context, method string, values url.Values) ([]byte, error) {
	return q.call(ctx, http.MethodPost, method, "application/x-www-form-urlencoded", strings.NewReader(values.Encode()))
}

func (q *qbittorrent) call(ctx context.Context, verb, method, contentType string, body io.Reader) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, verb, q.url+method, body)
	if err != nil {
		return nil, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := rpcClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("qBittorrent %s: %w", method, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("qBittorrent %s: status %s: %s", method, resp.Status, answer)
	}
	return answer, err
}
