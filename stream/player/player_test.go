package player_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/stream/player"
	"go.uber.org/goleak"
)

// The test binary is its own fake player: told so by the environment, it does what
// its first argument says.
const fakeEnv = "CAUSEWAY_TEST_FAKE_PLAYER"

func TestMain(m *testing.M) {
	if os.Getenv(fakeEnv) != "" {
		fakePlayer(os.Args[1:])
		return
	}
	goleak.VerifyTestMain(m)
}

func fakePlayer(args []string) {
	switch args[0] {
	case "record": // record FILE ARG...: write the arguments down
		b, _ := json.Marshal(args[2:])
		if err := os.WriteFile(args[1], b, 0o600); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "flood": // far more output than any pipe holds
		line := strings.Repeat("x", 1023) + "\n"
		for range 4096 {
			fmt.Print(line)
			fmt.Fprint(os.Stderr, line)
		}
		fmt.Println("the last line")
	case "fail":
		fmt.Fprintln(os.Stderr, "cannot open display")
		os.Exit(3)
	case "hang": // hang ADDRESS: say so there, start a child that does too, and stay
		if len(args) < 4 {
			child := exec.Command(os.Args[0], "hang", args[1], "child", "x")
			child.Stdout = os.Stdout // holds the pipe open
			if err := child.Start(); err != nil {
				os.Exit(1)
			}
		}
		conn, err := net.Dial("tcp", args[1])
		if err != nil {
			os.Exit(1)
		}
		_, _ = bufio.NewReader(conn).ReadByte() // until the test ends
	}
}

// fake returns the fake player as a command that does what the words say.
func fake(t *testing.T, words ...string) *player.Command {
	t.Helper()
	t.Setenv(fakeEnv, "1")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd, err := player.Find("'" + self + "' '" + strings.Join(words, "' '") + "'")
	if err != nil {
		t.Fatal(err)
	}
	return cmd
}

func TestArgumentsArriveUntouched(t *testing.T) {
	out := filepath.Join(t.TempDir(), "args")
	url := `http://127.0.0.1:8080/t/x/$(touch pwned) "a" 'b' %41;&|.mp4`
	cmd := fake(t, "record", out, "--url={}", "{}", "last one")
	if err := cmd.Run(t.Context(), player.Media{Items: []player.Item{{URL: url}}}); err != nil {
		t.Fatal(err)
	}
	var got []string
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if want := []string{"--url=" + url, url, "last one"}; !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestOutputIsDrained(t *testing.T) {
	if err := fake(t, "flood").Run(t.Context(), player.Media{Items: []player.Item{{URL: "u"}}}); err != nil {
		t.Fatal(err)
	}
}

func TestFailureIsTold(t *testing.T) {
	var log strings.Builder
	cmd := fake(t, "fail")
	cmd.Log = slog.New(slog.NewTextHandler(&log, nil))
	err := cmd.Run(t.Context(), player.Media{Items: []player.Item{{URL: "u"}}})
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("got %v", err)
	}
	if !strings.Contains(log.String(), "cannot open display") {
		t.Errorf("the log does not say why: %s", log.String())
	}
}

func TestPlayerAndItsChildrenEndWithTheContext(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cmd := fake(t, "hang", ln.Addr().String())
	ran := make(chan error, 1)
	go func() { ran <- cmd.Run(ctx, player.Media{Items: []player.Item{{URL: "u"}}}) }()
	var conns []net.Conn
	for range 2 { // the player's and its child's
		conn, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns = append(conns, conn)
	}
	cancel()
	if err := <-ran; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	for _, conn := range conns {
		if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("a process of the player's is still there")
		}
	}
}

func TestNothingToPlay(t *testing.T) {
	if err := fake(t, "fail").Run(t.Context(), player.Media{}); err == nil || !strings.Contains(err.Error(), "nothing to play") {
		t.Errorf("got %v", err)
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	name := "mpv"
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	program := filepath.Join(dir, name)
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	for _, asked := range []string{"mpv", "MPV", program} {
		cmd, err := player.Find(asked)
		if err != nil || cmd.Path != program {
			t.Errorf("%s: %+v, %v", asked, cmd, err)
			continue
		}
		if argv := cmd.Argv(player.Media{Items: []player.Item{{URL: "u", Subtitles: []string{"s"}}}}); !slices.Contains(argv, "--sub-file=s") {
			t.Errorf("%s is not known as mpv: %q", asked, argv)
		}
	}
	for _, asked := range []string{"no-such-player", "", "mpv 'unclosed", "mpv | tee"} {
		if cmd, err := player.Find(asked); err == nil {
			t.Errorf("%q was found: %+v", asked, cmd)
		}
	}
	if _, err := player.Find("no-such-player"); !errors.Is(err, player.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	t.Run("where the environment says", func(t *testing.T) {
		t.Setenv("PATH", "")
		t.Setenv("CAUSEWAY_PLAYER_PATH", program)
		if cmd, err := player.Find("vlc"); err != nil || cmd.Path != program {
			t.Errorf("%+v, %v", cmd, err)
		}
	})
}

// named returns a player by its name, wherever it is said to be.
func named(t *testing.T, name string) *player.Command {
	t.Helper()
	program := filepath.Join(t.TempDir(), name+".exe")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CAUSEWAY_PLAYER_PATH", program)
	cmd, err := player.Find(name)
	if err != nil {
		t.Fatal(err)
	}
	return cmd
}

// TestArgvOfEachPlayer gives one film its subtitles, and of several each its own,
// or none to those that would show them with the wrong film.
func TestArgvOfEachPlayer(t *testing.T) {
	one := player.Media{Items: []player.Item{{URL: "http://h/1", Subtitles: []string{"http://h/a.vtt", "http://h/b.vtt"}}}}
	several := player.Media{Items: []player.Item{
		{URL: "http://h/1", Subtitles: []string{"http://h/a.vtt"}}, {URL: "http://h/2"},
		{URL: "http://h/3", Subtitles: []string{"http://h/c.vtt"}},
	}}
	for name, want := range map[string]struct{ one, several string }{
		"vlc": {
			"--play-and-exit --no-video-title-show http://h/1 :input-slave=http://h/a.vtt#http://h/b.vtt",
			"--play-and-exit --no-video-title-show http://h/1 :input-slave=http://h/a.vtt http://h/2 http://h/3 :input-slave=http://h/c.vtt",
		},
		"mpv": {
			"--no-terminal --force-window=immediate --{ --sub-file=http://h/a.vtt --sub-file=http://h/b.vtt http://h/1 --}",
			"--no-terminal --force-window=immediate --{ --sub-file=http://h/a.vtt http://h/1 --} --{ http://h/2 --} --{ --sub-file=http://h/c.vtt http://h/3 --}",
		},
		"mplayer": {
			"-really-quiet -noautosub http://h/1 -sub http://h/a.vtt,http://h/b.vtt",
			"-really-quiet -noautosub http://h/1 -sub http://h/a.vtt http://h/2 http://h/3 -sub http://h/c.vtt",
		},
		"iina": {
			"--keep-running --no-stdin --mpv-sub-files-append=http://h/a.vtt --mpv-sub-files-append=http://h/b.vtt http://h/1",
			"--keep-running --no-stdin http://h/1 http://h/2 http://h/3",
		},
		"smplayer": {
			"-close-at-end -sub http://h/a.vtt -sub http://h/b.vtt http://h/1",
			"-close-at-end -sub http://h/a.vtt http://h/1 http://h/2 http://h/3",
		},
		"mpc-hc": {
			"http://h/1 /sub http://h/a.vtt /sub http://h/b.vtt /play /close",
			"http://h/1 http://h/2 http://h/3 /play /close",
		},
		"potplayer": {
			"http://h/1 /sub=http://h/a.vtt /sub=http://h/b.vtt",
			"http://h/1 http://h/2 http://h/3",
		},
	} {
		cmd := named(t, name)
		cmd.Args = []string{"--extra"}
		if got := strings.Join(cmd.Argv(one), " "); got != "--extra "+want.one {
			t.Errorf("%s:\ngot  %s\nwant --extra %s", name, got, want.one)
		}
		if got := strings.Join(cmd.Argv(several), " "); got != "--extra "+want.several {
			t.Errorf("%s, several:\ngot  %s\nwant --extra %s", name, got, want.several)
		}
	}
	if len(player.Names()) != 7 {
		t.Errorf("players: %q", player.Names())
	}
}

// TestSeparatorsInSubtitleNames: VLC takes the number sign for the end of the
// file's name, and MPlayer the comma.
func TestSeparatorsInSubtitleNames(t *testing.T) {
	for name, want := range map[string]string{
		"vlc":     ":input-slave=file:///films/one,%20two%20%231%2050%25.srt#http://h/one,two.vtt",
		"mplayer": `-sub /films/one\, two #1 50%.srt,http://h/one\,two.vtt`,
	} {
		media := player.Media{Items: []player.Item{{URL: "u", Subtitles: []string{"/films/one, two #1 50%.srt", "http://h/one,two.vtt"}}}}
		if got := strings.Join(named(t, name).Argv(media), " "); !strings.HasSuffix(got, want) {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

func TestSplitArgs(t *testing.T) {
	for line, want := range map[string][]string{
		"":                    nil,
		"--fs --volume=50":    {"--fs", "--volume=50"},
		`--title "two words"`: {"--title", "two words"},
		`a ""`:                {"a", ""},
		"  spaced \t out  ":   {"spaced", "out"},
	} {
		got, err := player.SplitArgs(line)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v", line, got, err)
		}
	}
	if runtime.GOOS == "windows" {
		return // where a backslash belongs to a path and $ means nothing
	}
	for line, want := range map[string][]string{
		`'$HOME' $HOME`: {"$HOME", "$HOME"},
		`two\ words`:    {"two words"},
		"`id` '$(id)'":  {"`id`", "$(id)"},
	} {
		if got, err := player.SplitArgs(line); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v", line, got, err)
		}
	}
	for _, line := range []string{`"open`, "a; b", "a | b", "a > b", "a && b"} {
		if got, err := player.SplitArgs(line); err == nil {
			t.Errorf("%q was split into %q", line, got)
		}
	}
}
