package main

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

// recorder makes a program that stands where a player is looked for and writes
// down the arguments that it is given, which the returned function reads.
func recorder(t *testing.T) (arguments func() []string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the player of this test is a shell script")
	}
	programPath(t, "sh")
	folder := t.TempDir()
	script, record := filepath.Join(folder, "player"), filepath.Join(folder, "arguments")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nprintf '%s\\0' \"$@\" > \"$TEST_RECORD\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CAUSEWAY_PLAYER_PATH", script)
	t.Setenv("TEST_RECORD", record)
	return func() []string {
		t.Helper()
		data, err := os.ReadFile(record)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00")
	}
}

// get returns what is served at a URL.
func get(t *testing.T, url string) []byte {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, response.Status, err)
	}
	return data
}

// writeFiles fills a folder, and returns it with a name for it to be shared by.
func writeFiles(t *testing.T, files map[string]string) (root, name string) {
	t.Helper()
	root, name = t.TempDir(), "films"
	for file, text := range files {
		path := filepath.Join(root, name, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root, name
}

func cue(text string) string { return "1\n00:00:00,100 --> 00:00:01,900\n" + text + "\n" }

// ended waits until the player has been started and has ended.
func (s *serving) ended(t *testing.T) {
	t.Helper()
	for _, state := range []string{"started", "ended"} {
		if e := s.event(t, "player"); e["state"] != state {
			t.Fatalf("the player has %v\n%s", e, s.stderr.String())
		}
	}
}

// TestStreamPlayerGetsSubtitles hands the player the file's own subtitles and
// those of --subtitles, whatever they are called.
func TestStreamPlayerGetsSubtitles(t *testing.T) {
	arguments := recorder(t)
	const film = `it's "50%" of #1, $HOME; ünï 日本`
	root, name := writeFiles(t, map[string]string{
		film + ".mkv": strings.Repeat("film", 50_000), film + ".en.srt": cue("Hello"), film + ".de.srt": cue("Grüße"),
		"another.mkv": "short", "another.srt": cue("no"),
	})
	given := filepath.Join(t.TempDir(), film+".srt")
	if err := os.WriteFile(given, []byte(cue("given")), 0o644); err != nil {
		t.Fatal(err)
	}
	seeder := startSeederOf(t, root, name)
	s := startStream(t, t.TempDir(), seeder.magnet, "--peer", seeder.address, "--no-quit",
		"--player", "mpv", "--player-args", `--geometry='50% 50%'`, "--subtitles", given)
	served := s.event(t, "serving")
	s.ended(t)

	url, subtitles := served["url"].(string), served["subtitle_urls"].([]any)
	if len(subtitles) != 2 {
		t.Fatalf("subtitles %v", subtitles)
	}
	want := []string{
		"--geometry=50% 50%", "--no-terminal", "--force-window=immediate", "--force-media-title=" + name,
		"--{", "--sub-file=" + given, "--sub-file=" + subtitles[0].(string), "--sub-file=" + subtitles[1].(string), url, "--}",
	}
	if got := arguments(); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if got := string(get(t, url)); got != strings.Repeat("film", 50_000) {
		t.Errorf("%d bytes that are not the film's", len(got))
	}
	for i, text := range []string{"Grüße", "Hello"} {
		if got := string(get(t, subtitles[i].(string))); !strings.HasPrefix(got, "WEBVTT") || !strings.Contains(got, text) {
			t.Errorf("%v: %q", subtitles[i], got)
		}
	}
}

// TestStreamPlaylistSubtitles hands the player each film's own subtitles, and
// those of --subtitles for the first.
func TestStreamPlaylistSubtitles(t *testing.T) {
	arguments := recorder(t)
	root, name := writeFiles(t, map[string]string{
		"E1.mkv": "one", "E1.srt": cue("of one"), "E2.mkv": "two", "E2.srt": cue("of two"), "E3.mkv": "three", "given.vtt": "WEBVTT\n",
	})
	seeder := startSeederOf(t, root, name)
	given := filepath.Join(root, name, "given.vtt")
	s := startStream(t, t.TempDir(), seeder.magnet, "--peer", seeder.address, "--playlist", "--player", "mpv", "--subtitles", given)
	base := strings.TrimSuffix(s.event(t, "serving")["url"].(string), "E1.mkv")
	if code := s.end(t); code != exitDone {
		t.Errorf("exit code %d\n%s", code, s.stderr.String())
	}
	want := []string{
		"--no-terminal", "--force-window=immediate",
		"--{", "--sub-file=" + given, "--sub-file=" + base + "E1.srt.vtt", base + "E1.mkv", "--}",
		"--{", "--sub-file=" + base + "E2.srt.vtt", base + "E2.mkv", "--}",
		"--{", base + "E3.mkv", "--}",
	}
	if got := arguments(); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// TestStreamPlaylistSubtitlesInMPV: mpv itself shows each film's subtitles with
// that film, and not the other's.
func TestStreamPlaylistSubtitlesInMPV(t *testing.T) {
	programPath(t, "mpv")
	root, name := writeFiles(t, map[string]string{"E1.srt": cue("of one"), "E2.srt": cue("of two")})
	for _, film := range []string{"E1.mkv", "E2.mkv"} {
		runProgram(t, "ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=160x120:rate=10:duration=2",
			"-c:v", "mpeg4", "file:"+filepath.Join(root, name, film))
	}
	seeder := startSeederOf(t, root, name)
	log := filepath.Join(t.TempDir(), "log")
	s := startStream(t, t.TempDir(), seeder.magnet, "--peer", seeder.address, "--playlist", "--player", "mpv",
		"--player-args", "--no-config --vo=null --ao=null --untimed --log-file="+log)
	s.ended(t)
	if code := s.end(t); code != exitDone {
		t.Errorf("exit code %d\n%s", code, s.stderr.String())
	}
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(text), "Playing: ")
	if len(parts) != 3 {
		t.Fatalf("%d films played, want 2:\n%s", len(parts)-1, text)
	}
	for film := 1; film <= 2; film++ {
		for sub := 1; sub <= 2; sub++ {
			shown := strings.Contains(parts[film], fmt.Sprintf("'E%d.srt.vtt' (webvtt)", sub))
			if shown != (film == sub) {
				t.Errorf("subtitles %d shown with film %d: %v", sub, film, shown)
			}
		}
	}
}

// TestStreamEndsWithThePlayer when it has played, but not with --no-quit.
func TestStreamEndsWithThePlayer(t *testing.T) {
	recorder(t)
	root, _ := filmFolder(t)
	torrent := filepath.Join(root, "films.torrent")
	t.Run("quit", func(t *testing.T) {
		s := startStream(t, root, torrent, "--player", "vlc")
		s.ended(t)
		if code := s.end(t); code != exitDone {
			t.Errorf("exit code %d\n%s", code, s.stderr.String())
		}
	})
	t.Run("no-quit", func(t *testing.T) {
		s := startStream(t, root, torrent, "--player", "vlc", "--no-quit")
		url := s.event(t, "serving")["url"].(string)
		s.ended(t)
		want, err := os.ReadFile(filepath.Join(root, "Films", "Film 1.mkv"))
		if err != nil {
			t.Fatal(err)
		}
		if got := get(t, url); !bytes.Equal(got, want) {
			t.Errorf("%d bytes that are not the file's %d", len(got), len(want))
		}
		if err := s.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		if code := s.end(t); code != exitInterrupted {
			t.Errorf("exit code %d\n%s", code, s.stderr.String())
		}
	})
}

// TestStreamCache plays a whole film with a part of it on disk at any time, and
// leaves nothing.
func TestStreamCache(t *testing.T) {
	const cache = 8 << 20 // half of the film, and more than the least that there must be
	root, want := t.TempDir(), make([]byte, 2*cache)
	rand.NewChaCha8([32]byte{}).Read(want)
	if err := os.Mkdir(filepath.Join(root, "Films"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "Films", "Film.mkv"), want, 0o666); err != nil {
		t.Fatal(err)
	}
	seeder := startSeederOf(t, root, "Films")
	out := t.TempDir()
	s := startStream(t, out, seeder.magnet, "--peer", seeder.address, "--cache", fmt.Sprint(cache>>20, "M"))
	url := s.event(t, "serving")["url"].(string)
	for range 2 { // the second time it has to be downloaded again
		if got := get(t, url); !bytes.Equal(got, want) {
			t.Fatalf("%d bytes that are not the file's %d", len(got), len(want))
		}
		wantEmpty(t, out) // the cache has no name there
		if runtime.GOOS != "linux" {
			continue
		}
		if used := unnamed(t, s.Process.Pid, out); used == 0 || used > cache {
			t.Errorf("%d bytes on disk, want at most %d", used, cache)
		}
	}
	if runtime.GOOS == "windows" {
		return // where a test cannot interrupt one process alone
	}
	if err := s.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if code := s.end(t); code != exitInterrupted {
		t.Errorf("exit code %d\n%s", code, s.stderr.String())
	}
	wantEmpty(t, out)
}

// unnamed is the length of what a process has open in a folder, without a name.
func unnamed(t *testing.T, pid int, folder string) (size int64) {
	t.Helper()
	open := filepath.Join("/proc", fmt.Sprint(pid), "fd")
	entries, err := os.ReadDir(open)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		path := filepath.Join(open, entry.Name())
		target, err := os.Readlink(path)
		if err != nil || !strings.HasPrefix(target, folder) || !strings.HasSuffix(target, "(deleted)") {
			continue
		}
		if info, err := os.Stat(path); err == nil {
			size += info.Size()
		}
	}
	return size
}

// TestTwoCachesInOneFolder plays one film in two processes, at different places, with one
// folder for what they cache: each has its own.
func TestTwoCachesInOneFolder(t *testing.T) {
	root, want := t.TempDir(), make([]byte, 24<<20)
	rand.NewChaCha8([32]byte{}).Read(want)
	if err := os.Mkdir(filepath.Join(root, "Films"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "Films", "Film.mkv"), want, 0o666); err != nil {
		t.Fatal(err)
	}
	seeder := startSeederOf(t, root, "Films")
	out := t.TempDir()
	var urls []string
	for range 2 {
		s := startStream(t, out, seeder.magnet, "--peer", seeder.address, "--cache", "8M")
		urls = append(urls, s.event(t, "serving")["url"].(string))
	}
	var players sync.WaitGroup
	for i, url := range urls {
		players.Go(func() {
			for at := range 20 {
				from := (at + 10*i) % 20 << 20
				request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
				if err != nil {
					t.Error(err)
					return
				}
				request.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, from+1<<20-1))
				response, err := http.DefaultClient.Do(request)
				if err != nil {
					t.Error(err)
					return
				}
				got, err := io.ReadAll(response.Body)
				response.Body.Close()
				if err != nil || !bytes.Equal(got, want[from:from+1<<20]) {
					t.Errorf("player %d gets wrong bytes from %d on (%v)", i, from, err)
					return
				}
			}
		})
	}
	players.Wait()
}
