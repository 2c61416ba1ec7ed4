package main

import (
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"
)

// TestStreamRemove deletes what was downloaded when it is interrupted, and only that.
func TestStreamRemove(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a test cannot interrupt one process alone on Windows")
	}
	root, _ := filmFolder(t)
	seeder := startSeederOf(t, root, "Films")
	for _, test := range []struct {
		name   string
		before []string // files that are there
		left   []string
	}{
		{name: "all"},
		{name: "but what was there", before: []string{"Film 1.mkv", "notes.txt"}, left: []string{"Film 1.mkv", "notes.txt"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			out := t.TempDir()
			for _, name := range test.before {
				copyFile(t, filepath.Join(root, "Films", name), filepath.Join(out, "Films", name))
			}
			s := startStream(t, out, filepath.Join(root, "films.torrent"), "--remove", "--peer", seeder.address)
			s.event(t, "complete")
			if err := s.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			if code := s.end(t); code != exitInterrupted {
				t.Errorf("exit code %d\n%s", code, s.stderr.String())
			}
			if test.left == nil {
				wantEmpty(t, out)
			}
			for _, name := range test.left {
				if _, err := os.Stat(filepath.Join(out, "Films", name)); err != nil {
					t.Error(err)
				}
			}
			if _, err := os.Stat(filepath.Join(out, "Films", "Film 1.en.srt")); err == nil {
				t.Error("the subtitles were left behind")
			}
		})
	}
}

// TestStreamRemovesHoweverItEnds leaves neither data nor a player behind, when it ends in
// the middle of a download.
func TestStreamRemovesHoweverItEnds(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a test cannot interrupt one process alone on Windows")
	}
	programPath(t, "sh")
	root, _ := filmFolder(t)
	seeder := startSeederOf(t, root, "Films", "--up-limit", "100K")
	for name, test := range map[string]struct {
		player  string   // what it does when there is some data; it says so first
		flags   []string // other than --remove
		signals []os.Signal
		want    int
	}{
		"terminated":                       {player: "echo >&3; sleep 60", signals: []os.Signal{syscall.SIGTERM}, want: exitInterrupted},
		"player that quits":                {player: "echo >&3; exit 0", want: exitDone},
		"player that fails":                {player: "echo >&3; exit 3", want: exitFailed},
		"player that stays, interrupted":   {player: `trap "" TERM; echo >&3; sleep 60`, signals: []os.Signal{os.Interrupt}, want: exitInterrupted},
		"player that stays, twice stopped": {player: `trap "" TERM; echo >&3; sleep 60`, signals: []os.Signal{os.Interrupt, syscall.SIGTERM}, want: exitInterrupted},
		"player that stays, twice stopped, with a cache": {
			player: `trap "" TERM; echo >&3; sleep 60`, flags: []string{"--cache", "100M"},
			signals: []os.Signal{os.Interrupt, syscall.SIGTERM}, want: exitInterrupted,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if test.flags == nil {
				test.flags = []string{"--remove"}
			}
			// Held open by all that runs.
			alive, held, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer alive.Close()
			out := t.TempDir()
			begun := `[ -s "Films/Film 1.mkv" ]`
			if slices.Contains(test.flags, "--cache") {
				begun = `ls -l /proc/$PPID/fd | grep -q deleted` // the cache has no name
			}
			player := `sh -c 'until ` + begun + `; do sleep 0.1; done; ` + test.player + `'`
			s := startStreamWith(t, []*os.File{held}, out, slices.Concat(test.flags, []string{seeder.magnet, "--peer", seeder.address, "--player", player})...)
			held.Close()
			if err := alive.SetReadDeadline(time.Now().Add(patient)); err != nil {
				t.Fatal(err)
			}
			if _, err := alive.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			for _, signal := range test.signals {
				if err := s.Process.Signal(signal); err != nil {
					t.Fatal(err)
				}
			}
			if code := s.end(t); code != test.want {
				t.Errorf("exit code %d\n%s", code, s.stderr.String())
			}
			if _, err := io.ReadAll(alive); err != nil {
				t.Errorf("the player is still there: %v", err)
			}
			wantEmpty(t, out)
		})
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func wantEmpty(t *testing.T, folder string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}
