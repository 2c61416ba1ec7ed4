package main

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// loopback keeps a run on this machine, and to the peers that are named.
var loopback = []string{"--listen", "127.0.0.1", "--port", "0", "--no-dht", "--no-lsd", "--no-trackers"}

// seeder is a running `causeway seed --json`.
type seeder struct {
	cmd            *exec.Cmd
	address        string
	magnet, folder string
}

func startSeeder(t *testing.T) *seeder {
	t.Helper()
	return startSeederOf(t, album(t), "album")
}

// startSeederOf seeds what is called name in a folder.
func startSeederOf(t *testing.T, folder, name string, flags ...string) *seeder {
	t.Helper()
	s := &seeder{folder: folder}
	s.cmd = command(t, s.folder, slices.Concat([]string{"seed", name, "--json"}, loopback, flags)...)
	s.cmd.Stderr = os.Stderr
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.cmd.Process.Kill()
		s.cmd.Wait()
	})
	lines := bufio.NewReader(stdout)
	for s.magnet == "" {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			t.Fatalf("the seeder ended: %v", err)
		}
		var e event
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatal(err)
		}
		switch e["event"] {
		case "listening":
			s.address = e["tcp"].(string)
		case "seeding":
			s.magnet = e["magnet"].(string)
		}
	}
	// A full pipe must not stop it.
	go io.Copy(io.Discard, stdout)
	return s
}

func TestSeedAndDownload(t *testing.T) {
	seeder := startSeeder(t)
	peer := append([]string{"--peer", seeder.address}, loopback...)
	out := t.TempDir()

	// With no command named.
	r := causeway(t, out, append([]string{seeder.magnet, "--json"}, peer...)...).want(t, exitDone)
	var order []string
	for _, e := range r.events(t) {
		if name := e["event"].(string); len(order) == 0 || order[len(order)-1] != name {
			order = append(order, name)
		}
	}
	if got := strings.Join(order, " "); !strings.HasPrefix(got, "listening ") || !strings.HasSuffix(got, "torrent progress complete") && !strings.HasSuffix(got, "progress complete") {
		t.Errorf("events %s", got)
	}
	complete := r.one(t, "complete")
	if complete["path"] != filepath.Join(out, "album") || complete["downloaded"].(float64) < 120005 {
		t.Errorf("got %v", complete)
	}
	sameFolder(t, filepath.Join(seeder.folder, "album"), filepath.Join(out, "album"))

	// Only what is selected.
	some := t.TempDir()
	causeway(t, some, append([]string{"download", seeder.magnet, "--select", "more/"}, peer...)...).want(t, exitDone)
	if _, err := os.Stat(filepath.Join(some, "album", "two.txt")); err == nil {
		t.Error("a file that was not selected is there")
	}

	// What is in it.
	info := causeway(t, out, append([]string{"info", seeder.magnet}, peer...)...).want(t, exitDone)
	if !strings.Contains(info.stdout, "more/three.txt") {
		t.Errorf("got %s", info.stdout)
	}
}

func TestSeedWhatIsNotAllThere(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a test cannot interrupt one process alone on Windows")
	}
	root := album(t)
	causeway(t, root, "create", "album").want(t, exitDone)
	if err := os.Truncate(filepath.Join(root, "album", "two.txt"), 30000); err != nil {
		t.Fatal(err)
	}
	cmd := command(t, root, append([]string{"seed", "album.torrent"}, loopback...)...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// The magnet link comes all the same.
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "magnet:") {
		t.Errorf("%q, %v", line, err)
	}
	cmd.Process.Signal(os.Interrupt)
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted || !strings.Contains(stderr.String(), "downloading the rest") {
		t.Errorf("exit code %d, %q", code, stderr.String())
	}
}

// What `download` calls complete, `verify` must call right; what is the user's own, as for
// `seed`, stays as it is.
func TestLongerFilesInTheWay(t *testing.T) {
	root := album(t)
	causeway(t, root, "create", "album").want(t, exitDone)
	seeder := startSeederOf(t, root, "album.torrent")
	out := t.TempDir()
	path := filepath.Join(out, "album", "two.txt")
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, make([]byte, 150000), 0o644); err != nil {
		t.Fatal(err)
	}
	torrent := filepath.Join(root, "album.torrent")
	r := causeway(t, out, append([]string{"download", torrent, "--peer", seeder.address}, loopback...)...).want(t, exitDone)
	if !strings.Contains(r.stderr, "it was cut to 100000 bytes") {
		t.Errorf("got %q", r.stderr)
	}
	causeway(t, out, "verify", torrent, ".").want(t, exitDone)
	sameFolder(t, filepath.Join(root, "album"), filepath.Join(out, "album"))

	if err := os.Truncate(path, 150000); err != nil {
		t.Fatal(err)
	}
	startSeederOf(t, out, torrent)
	if info, err := os.Stat(path); err != nil || info.Size() != 150000 {
		t.Errorf("a longer file that is seeded: %v, %v", info, err)
	}
}

func TestInterrupt(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a test cannot interrupt one process alone on Windows")
	}
	seeder := startSeeder(t)
	if err := seeder.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	seeder.cmd.Wait()
	if code := seeder.cmd.ProcessState.ExitCode(); code != exitInterrupted {
		t.Errorf("exit code %d, want %d", code, exitInterrupted)
	}
}

func sameFolder(t *testing.T, want, got string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(want, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		files++
		inside, err := filepath.Rel(want, path)
		if err != nil {
			return err
		}
		a, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		b, err := os.ReadFile(filepath.Join(got, inside))
		if err == nil && string(a) != string(b) {
			t.Errorf("%s differs", inside)
		}
		return err
	})
	if err != nil || files == 0 {
		t.Errorf("%d files, %v", files, err)
	}
}
