package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCreateInfoVerify(t *testing.T) {
	root := album(t)
	r := causeway(t, root, "create", "album", "-o", "x.torrent", "--tracker", "udp://a:1,udp://b:1", "--tracker", "wss://c",
		"--web-seed", "http://d/", "--piece-length", "16K", "--private", "--source", "tag", "--comment", "why", "--name", "Album").want(t, exitDone)
	magnet := strings.TrimSpace(r.stdout)
	if !strings.HasPrefix(magnet, "magnet:?xt=urn:btih:") || !strings.HasSuffix(magnet, "&dn=Album&tr=udp%3A%2F%2Fa%3A1&tr=udp%3A%2F%2Fb%3A1&tr=wss%3A%2F%2Fc&ws=http%3A%2F%2Fd%2F") {
		t.Errorf("magnet link %q", magnet)
	}

	text := causeway(t, root, "info", "x.torrent", "--no-trackers").want(t, exitDone).stdout
	for _, want := range []string{
		"Name        Album\n", "Size        117 KiB (120005 bytes)\n", "Pieces      8 of 16 KiB\n", "Private     yes\n", "Source      tag\n",
		"Trackers 1  udp://a:1\n            udp://b:1\nTrackers 2  wss://c\n", "Web seeds   http://d/\n", "Comment     why\n", "Created by  causeway\n",
		"Magnet      " + magnet + "\n", "0     5 B     more/three.txt\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}

	// The folder has another name than the torrent.
	if r := causeway(t, root, "verify", "x.torrent", "album").want(t, exitDone); !strings.Contains(r.stderr, "all files are right") {
		t.Errorf("got %q", r.stderr)
	}
	path := filepath.Join(root, "album", "two.txt")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content[50000] ^= 1
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	r = causeway(t, root, "verify", "x.torrent", "album").want(t, exitFailed)
	if !strings.Contains(r.stderr, "two.txt: damaged, 83.6 % of 98 KiB right\n") || !strings.Contains(r.stderr, "1 of 3 files of \"Album\" are not right; 7 of 8 pieces are right") {
		t.Errorf("got %q", r.stderr)
	}
	e := causeway(t, root, "verify", "x.torrent", "album", "--json").want(t, exitFailed).one(t, "verified")
	if e["complete"] != false || e["good_pieces"] != 7.0 || e["pieces"] != 8.0 || len(e["files"].([]any)) != 3 {
		t.Errorf("got %v", e)
	}
}

func TestTorrentEvent(t *testing.T) {
	root := album(t)
	created := causeway(t, root, "create", "album", "--json", "--no-date").want(t, exitDone).one(t, "torrent")
	if created["path"] != "album.torrent" {
		t.Errorf("path %v", created["path"])
	}
	cmd := command(t, root, "info", "-", "--json", "--select", "more/,2")
	torrent, err := os.ReadFile(filepath.Join(root, "album.torrent"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin = bytes.NewReader(torrent)
	e := finishCommand(t, cmd).want(t, exitDone).one(t, "torrent")
	for field, want := range map[string]any{
		"name": "album", "length": 120005.0, "piece_length": 16384.0, "private": false,
		"infohash": created["infohash"], "magnet": created["magnet"],
	} {
		if e[field] != want {
			t.Errorf("%s is %v, want %v", field, e[field], want)
		}
	}
	if len(e["infohash"].(string)) != 40 || e["infohash_v2"] != nil {
		t.Errorf("infohashes %v %v", e["infohash"], e["infohash_v2"])
	}
	selected := ""
	for i, file := range e["files"].([]any) {
		file := file.(map[string]any)
		if file["index"] != float64(i) || file["length"] == nil {
			t.Errorf("file %d: %v", i, file)
		}
		if file["selected"] == true {
			selected += file["path"].(string) + " "
		}
	}
	if selected != "more/three.txt two.txt " {
		t.Errorf("selected: %s", selected)
	}

	again := causeway(t, root, "create", "album", "--json", "--no-date", "-o", t.TempDir()).want(t, exitDone).one(t, "torrent")
	second, err := os.ReadFile(again["path"].(string))
	if err != nil || !bytes.Equal(second, torrent) {
		t.Errorf("without a date, two torrents of the same data differ (%v)", err)
	}
}

// Each --select adds to those before; that of the environment may have spaces in it.
func TestSelectIsRepeatable(t *testing.T) {
	root := album(t)
	if err := os.WriteFile(filepath.Join(root, "album", "a b.txt"), []byte("a"), 0o644); err != nil {
		t.Fatal(err)
	}
	causeway(t, root, "create", "album").want(t, exitDone)
	selected := func(r result) (paths string) {
		for _, file := range r.want(t, exitDone).one(t, "torrent")["files"].([]any) {
			if file := file.(map[string]any); file["selected"] == true {
				paths += file["path"].(string) + " "
			}
		}
		return paths
	}
	got := selected(causeway(t, root, "info", "album.torrent", "--json", "--select", "more/", "--select", "two.txt,one.txt"))
	if got != "more/three.txt one.txt two.txt " {
		t.Errorf("selected: %s", got)
	}
	cmd := command(t, root, "info", "album.torrent", "--json")
	cmd.Env = append(cmd.Env, "CAUSEWAY_SELECT=a b.txt,one.txt")
	if got := selected(finishCommand(t, cmd)); got != "a b.txt one.txt " {
		t.Errorf("selected by the environment: %s", got)
	}

	seeder, out := startSeederOf(t, root, "album"), t.TempDir()
	causeway(t, out, append([]string{"download", seeder.magnet, "--select", "more/", "--select", "one.txt", "--peer", seeder.address}, loopback...)...).want(t, exitDone)
	for name, want := range map[string]bool{"one.txt": true, "two.txt": false, "more/three.txt": true} {
		if _, err := os.Stat(filepath.Join(out, "album", name)); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCreateToStandardOutput(t *testing.T) {
	root := album(t)
	r := causeway(t, root, "create", "album", "-o", "-").want(t, exitDone)
	cmd := command(t, root, "verify", "-", ".")
	cmd.Stdin = strings.NewReader(r.stdout)
	finishCommand(t, cmd).want(t, exitDone)
	if !strings.Contains(r.stderr, "magnet:?") {
		t.Errorf("no magnet link in %q", r.stderr)
	}
}

func TestVersion(t *testing.T) {
	for _, argument := range []string{"version", "--version"} {
		if r := causeway(t, t.TempDir(), argument).want(t, exitDone); !strings.HasPrefix(r.stdout, "causeway 0.") {
			t.Errorf("%s: got %q", argument, r.stdout)
		}
		if e := causeway(t, t.TempDir(), argument, "--json").want(t, exitDone).one(t, "version"); e["version"] == "" {
			t.Errorf("%s: got %v", argument, e)
		}
	}
	// Packages of this program may well have such a variable.
	cmd := command(t, t.TempDir())
	cmd.Env = append(cmd.Env, "CAUSEWAY_VERSION=1.2")
	finishCommand(t, cmd).want(t, exitDone)
}

func TestPeersCannotControlTheTerminal(t *testing.T) {
	var stdout, stderr bytes.Buffer
	p := newPrinter(&stdout, &stderr)
	p.line("tracker says %s", "\x1b[2Jboo\r\x07")
	if stderr.String() != "tracker says  [2Jboo  \n" || stdout.Len() > 0 {
		t.Errorf("got %q and %q", stderr.String(), stdout.String())
	}
}

func TestQuiet(t *testing.T) {
	root := album(t)
	if r := causeway(t, root, "create", "album", "-q").want(t, exitDone); r.stderr != "" || strings.Count(r.stdout, "\n") != 1 {
		t.Errorf("got %+v", r)
	}
}
