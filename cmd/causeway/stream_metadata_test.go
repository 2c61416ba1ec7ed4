package main

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// TestStreamBeforeTheMetadata tells the playlist's URL at once. It says to try again
// until the metadata has come, and holds the playlist then.
func TestStreamBeforeTheMetadata(t *testing.T) {
	root, info := filmFolder(t)
	s := startStream(t, t.TempDir(), fmt.Sprintf("magnet:?xt=urn:btih:%x", info.InfoHash))
	address := s.event(t, "listening")["tcp"].(string)
	url := s.event(t, "fetching")["playlist_url"].(string)
	get := func(url string) (status int, later bool) {
		response, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		return response.StatusCode, response.Header.Get("Retry-After") != ""
	}
	if status, later := get(url); status != http.StatusServiceUnavailable || !later {
		t.Errorf("before the metadata: status %d, Retry-After %v", status, later)
	}
	if status, _ := get(strings.ReplaceAll(url, fmt.Sprintf("%x", info.InfoHash), strings.Repeat("0", 40))); status != http.StatusNotFound {
		t.Errorf("of another torrent: status %d", status)
	}
	startSeederOf(t, root, "Films", "--peer", address)
	if e := s.event(t, "serving"); e["playlist_url"] != url || e["file"] != "Film 1.mkv" {
		t.Errorf("then %v", e)
	}
	if status, _ := get(url); status != http.StatusOK {
		t.Errorf("with the metadata: status %d", status)
	}
}

// TestStreamWithoutMetadata prints a URL and runs the hook, though nothing ever comes.
func TestStreamWithoutMetadata(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a test cannot interrupt one process alone on Windows")
	}
	shell := programPath(t, "sh")
	hash := strings.Repeat("a1", 20)
	out := t.TempDir()
	hook := shell + ` -c 'echo "$CAUSEWAY_HOOK_EVENT|$CAUSEWAY_HOOK_NAME|$CAUSEWAY_HOOK_PATH|$CAUSEWAY_HOOK_URL|$CAUSEWAY_HOOK_INFOHASH" > hook'`
	cmd := command(t, out, slices.Concat([]string{"stream", "magnet:?xt=urn:btih:" + hash + "&dn=A+film", "--remove", "--on-exit", hook}, loopback)...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	url := strings.TrimSpace(line)
	if err != nil || !strings.HasSuffix(url, "/t/"+hash+".m3u8") {
		t.Errorf("%q, %v", line, err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted {
		t.Errorf("exit code %d", code)
	}
	got, err := os.ReadFile(filepath.Join(out, "hook"))
	if want := "exit|A film||" + url + "|" + hash + "\n"; err != nil || string(got) != want {
		t.Errorf("the hook has %q, not %q: %v", got, want, err)
	}
}
