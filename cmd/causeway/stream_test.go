package main

import (
	"bufio"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/causeway-bt/causeway/client/meta"
)

// filmFolder makes a folder with files called as films, subtitles and music are,
// and returns the folder around it. What they hold is random.
func filmFolder(t *testing.T) (root string, info *meta.Info) {
	t.Helper()
	root = t.TempDir()
	for name, length := range map[string]int{
		"Film 1.mkv": 600_000, "Film 1.en.srt": 900, "Sample.mkv": 40_000,
		"notes.txt": 700_000, "music/10 last.mp3": 60_000, "music/9 first.mp3": 50_000,
	} {
		path := filepath.Join(root, "Films", filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		data := make([]byte, length)
		rand.Read(data)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	encoded, err := meta.Create(t.Context(), filepath.Join(root, "Films"), meta.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "films.torrent"), encoded, 0o644); err != nil {
		t.Fatal(err)
	}
	torrent, err := meta.ParseTorrent(encoded)
	if err != nil {
		t.Fatal(err)
	}
	return root, torrent.Info
}

func TestChoose(t *testing.T) {
	_, info := filmFolder(t)
	index := func(path string) string {
		i := slices.IndexFunc(info.Files, func(f meta.File) bool { return f.DisplayPath() == path })
		return string(rune('0' + i))
	}
	film, subs, sample := index("Film 1.mkv"), index("Film 1.en.srt"), index("Sample.mkv")
	notes, first, last := index("notes.txt"), index("music/9 first.mp3"), index("music/10 last.mp3")
	sorted := func(items ...string) string { slices.Sort(items); return strings.Join(items, ",") }
	for name, test := range map[string]struct {
		flags  streamFlags
		preset string
		plays  string
		wants  string
	}{
		"largest film":               {plays: film, wants: sorted(film, subs)},
		"by index":                   {flags: streamFlags{file: sample}, plays: sample, wants: sample},
		"by glob":                    {flags: streamFlags{file: "*.mp3"}, plays: last, wants: last},
		"not playable":               {flags: streamFlags{file: "notes.txt"}, plays: notes, wants: notes},
		"playlist":                   {flags: streamFlags{playlist: true}, plays: film + first + last + sample, wants: sorted(film, subs, sample, first, last)},
		"what a magnet link selects": {preset: sample, plays: sample, wants: sample},
		"over a magnet link":         {flags: streamFlags{file: film}, preset: sample, plays: film, wants: sorted(film, subs)},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := choose(info, &test.flags, test.preset)
			if err != nil {
				t.Fatal(err)
			}
			plays := ""
			for _, i := range c.files {
				plays += string(rune('0' + i))
			}
			if test.flags.playlist { // folders and files in a person's order, which is package media's
				plays, test.plays = sortedRunes(plays), sortedRunes(test.plays)
			}
			if plays != test.plays || c.selection() != test.wants {
				t.Errorf("plays %s and wants %s, not %s and %s", plays, c.selection(), test.plays, test.wants)
			}
		})
	}
}

func sortedRunes(s string) string {
	r := []rune(s)
	slices.Sort(r)
	return string(r)
}

func TestStreamUsage(t *testing.T) {
	root, _ := filmFolder(t)
	for _, test := range []struct{ flags, says string }{
		{"--stdout --json", "standard output"},
		{"--stdout --player mpv", "--player"},
		{"--stdout --playlist", "--playlist"},
		{"--playlist --file 1", "--file"},
		{"--http 0.0.0.0:0", "--token"},
		{"--http :0", "--token"},
		{"--http nonsense", "HOST:PORT"},
		{"--http 127.0.0.1:99999", "HOST:PORT"},
		{"--allow-origin site.example", "SCHEME://HOST"},
		{"--allow-origin https://site.example/page", "SCHEME://HOST"},
		{"--file 77", "0 to 5"},
		{"--file *.pdf", "matches no file"},
		{"--on-done nonesuch-program", "--on-done"},
		{"--on-exit 'unclosed", "--on-exit"},
		{"--player-args 'unclosed --player mpv", "--player-args"},
		{"--subtitles nonesuch --player mpv", "nonesuch"},
		{"--subtitles films.torrent", "--player"},
		{"another.torrent", "one magnet link"},
	} {
		t.Run(test.flags, func(t *testing.T) {
			flags := slices.Concat([]string{"stream", "films.torrent"}, loopback, strings.Fields(test.flags))
			r := causeway(t, root, flags...).want(t, exitUsage)
			if !strings.Contains(r.stderr, test.says) {
				t.Errorf("%q does not say %q", r.stderr, test.says)
			}
		})
	}
}

func TestStreamList(t *testing.T) {
	root, _ := filmFolder(t)
	r := causeway(t, root, "stream", "films.torrent", "--list").want(t, exitDone)
	for _, want := range []string{"Film 1.mkv  (played)", "Film 1.en.srt  (goes with it)", "audio", "subtitle"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("%q is not in\n%s", want, r.stdout)
		}
	}
	seeder := startSeederOf(t, root, "Films")
	r = causeway(t, t.TempDir(), slices.Concat([]string{"stream", seeder.magnet, "--list", "--json", "--peer", seeder.address}, loopback)...).want(t, exitDone)
	for _, file := range r.one(t, "torrent")["files"].([]any) {
		file := file.(map[string]any)
		if want := strings.HasPrefix(file["path"].(string), "Film 1"); file["selected"] != want {
			t.Errorf("got %v", file)
		}
	}
}

// TestStreamStdout writes exactly the file, from a magnet link, and downloads
// nothing but that and its subtitles.
func TestStreamStdout(t *testing.T) {
	root, _ := filmFolder(t)
	seeder := startSeederOf(t, root, "Films")
	out := t.TempDir()
	r := causeway(t, out, slices.Concat([]string{"stream", seeder.magnet, "--stdout", "--peer", seeder.address}, loopback)...).want(t, exitDone)
	want, err := os.ReadFile(filepath.Join(root, "Films", "Film 1.mkv"))
	if err != nil {
		t.Fatal(err)
	}
	if r.stdout != string(want) {
		t.Errorf("%d bytes that are not the file's %d", len(r.stdout), len(want))
	}
	if !strings.HasPrefix(r.stderr, "http://127.0.0.1:") && !strings.Contains(r.stderr, "\nhttp://127.0.0.1:") {
		t.Errorf("no URL in %q", r.stderr)
	}
	for name, there := range map[string]bool{"Film 1.mkv": true, "Sample.mkv": false, "notes.txt": false} {
		if _, err := os.Stat(filepath.Join(out, "Films", name)); (err == nil) != there {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestStreamToReaderThatLeaves ends well, and tidies up, when nobody reads any more.
func TestStreamToReaderThatLeaves(t *testing.T) {
	root, _ := filmFolder(t)
	seeder := startSeederOf(t, root, "Films", "--up-limit", "300K")
	out := t.TempDir()
	cmd := command(t, out, slices.Concat([]string{"stream", seeder.magnet, "--stdout", "--remove", "--peer", seeder.address}, loopback)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(stdout, make([]byte, 1000)); err != nil {
		t.Error(err)
	}
	stdout.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, stderr.String())
	}
	wantEmpty(t, out)
}

// serving is a running `causeway stream --json`.
type serving struct {
	*exec.Cmd
	lines  *bufio.Reader
	stderr strings.Builder
}

func startStream(t *testing.T, folder string, arguments ...string) *serving {
	t.Helper()
	return startStreamWith(t, nil, folder, arguments...)
}

// startStreamWith has the command, and a player of its, inherit files.
func startStreamWith(t *testing.T, inherited []*os.File, folder string, arguments ...string) *serving {
	t.Helper()
	s := &serving{Cmd: command(t, folder, slices.Concat([]string{"stream", "--json"}, loopback, arguments)...)}
	s.ExtraFiles = inherited
	stdout, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.Stderr = &s.stderr
	s.lines = bufio.NewReader(stdout)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Process.Kill()
		s.Wait()
	})
	return s
}

// next reads an event.
func (s *serving) next(t *testing.T) event {
	t.Helper()
	line, err := s.lines.ReadBytes('\n')
	if err != nil {
		t.Fatalf("no further event: %v\n%s", err, s.stderr.String())
	}
	var e event
	if err := json.Unmarshal(line, &e); err != nil {
		t.Fatal(err)
	}
	return e
}

// event reads on to the next event of that name.
func (s *serving) event(t *testing.T, name string) event {
	t.Helper()
	for {
		if e := s.next(t); e["event"] == name {
			return e
		}
	}
}

// end reads all that is left and returns the exit code.
func (s *serving) end(t *testing.T) int {
	t.Helper()
	if _, err := io.Copy(io.Discard, s.lines); err != nil {
		t.Error(err)
	}
	s.Wait()
	return s.ProcessState.ExitCode()
}

// TestStreamHooks runs both, with what they need to know.
func TestStreamHooks(t *testing.T) {
	script, err := exec.LookPath("sh")
	if err != nil {
		t.Skipf("the hooks of this test are shell scripts: %v", err)
	}
	root, _ := filmFolder(t)
	seeder := startSeederOf(t, root, "Films")
	out := t.TempDir()
	hook := script + ` -c 'echo "$CAUSEWAY_HOOK_EVENT|$CAUSEWAY_HOOK_NAME|$CAUSEWAY_HOOK_PATH|$CAUSEWAY_HOOK_URL" >> hooks; cat "$CAUSEWAY_HOOK_PATH" | wc -c >> hooks'`
	r := causeway(t, out, slices.Concat([]string{"stream", seeder.magnet, "--stdout", "--remove", "--on-done", hook, "--on-exit", hook, "--peer", seeder.address}, loopback)...).want(t, exitDone)
	log, err := os.ReadFile(filepath.Join(out, "hooks"))
	if err != nil {
		t.Fatalf("%v\n%s", err, r.stderr)
	}
	for _, want := range []string{"done|Films|", "exit|Films|", filepath.Join("Films", "Film 1.mkv") + "|http://127.0.0.1:", "600000"} {
		if !strings.Contains(string(log), want) {
			t.Errorf("%q is not in %q", want, log)
		}
	}
}

// TestStreamServes says by which URLs, asks for the token, and answers only to
// known names.
func TestStreamServes(t *testing.T) {
	root, _ := filmFolder(t)
	seeder := startSeederOf(t, root, "Films")
	s := startStream(t, t.TempDir(), filepath.Join(root, "films.torrent"), "--peer", seeder.address,
		"--http", "127.0.0.1:0", "--token", "secret", "--allow-host", "media.example")
	e := s.event(t, "serving")
	url := e["url"].(string)
	if e["file"] != "Film 1.mkv" || len(e["infohash"].(string)) != 40 || !strings.HasSuffix(url, "Film%201.mkv?token=secret") {
		t.Fatalf("got %v", e)
	}
	status := func(url, host string) int {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodHead, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Host = host
		response, err := http.DefaultTransport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		return response.StatusCode
	}
	for _, test := range []struct {
		url, host string
		want      int
	}{
		{url, "", http.StatusOK},
		{url, "media.example", http.StatusOK},
		{url, "evil.example", http.StatusForbidden},
		{strings.TrimSuffix(url, "?token=secret"), "", http.StatusUnauthorized},
		{e["playlist_url"].(string), "", http.StatusOK},
		{e["subtitle_urls"].([]any)[0].(string), "", http.StatusOK},
	} {
		if got := status(test.url, test.host); got != test.want {
			t.Errorf("%s as %q: status %d, want %d", test.url, test.host, got, test.want)
		}
	}
}

// TestStreamPortTaken takes another port, unless one was asked for.
func TestStreamPortTaken(t *testing.T) {
	root, _ := filmFolder(t)
	first := startStream(t, t.TempDir(), filepath.Join(root, "films.torrent"))
	address := strings.TrimPrefix(first.event(t, "serving")["url"].(string), "http://")
	address, _, _ = strings.Cut(address, "/")
	second := startStream(t, t.TempDir(), filepath.Join(root, "films.torrent"))
	if url := second.event(t, "serving")["url"].(string); strings.Contains(url, address) {
		t.Errorf("%s is served by both", url)
	}
	r := causeway(t, t.TempDir(), slices.Concat([]string{"stream", filepath.Join(root, "films.torrent"), "--http", address}, loopback)...).want(t, exitFailed)
	if !strings.Contains(r.stderr, address) {
		t.Errorf("got %q", r.stderr)
	}
}

func TestBufferBar(t *testing.T) {
	for _, test := range []struct {
		position, buffered, length int64
		want                       string
	}{
		{0, 0, 240, "0 0"},
		{0, 240, 240, "0 24"},
		{120, 60, 240, "12 6"},
		{240, 0, 240, "24 0"},
		{0, 0, 0, "0 0"},
		{1 << 40, 1 << 40, 1 << 41, "12 12"},
	} {
		bar := []rune(bufferBar(26, test.position, test.buffered, test.length))
		if len(bar) != 26 {
			t.Errorf("%d columns", len(bar))
		}
		count := func(r rune) int { return strings.Count(string(bar), string(r)) }
		if got := fmt.Sprint(count('█'), " ", count('▒')); got != test.want {
			t.Errorf("%+v: %s", test, got)
		}
	}
}
