package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// programPath finds another program. Where CAUSEWAY_REQUIRE_PEERS=1, as in
// continuous integration, its absence is a failure.
func programPath(t *testing.T, name string) string {
	t.Helper()
	if testing.Short() {
		t.Skipf("runs %s: not with -short", name)
	}
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CAUSEWAY_REQUIRE_PEERS") == "1" {
			t.Fatalf("%s is required: %v", name, err)
		}
		t.Skipf("this test plays with %s: %v", name, err)
	}
	return path
}

func runProgram(t *testing.T, name string, arguments ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	cmd := exec.CommandContext(ctx, programPath(t, name), arguments...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, arguments, err, stderr.String())
	}
	return string(out)
}

// clipSeconds is how long a clip plays.
const clipSeconds = 60

// clip makes a film with sound in a folder of its own, and returns its path. Its
// pictures are noise, as others would be compressed to a file that arrives at once,
// and every fifth can be decoded by itself, so that a seek needs little of the file.
func clip(t *testing.T, name string, arguments ...string) string {
	t.Helper()
	folder := t.TempDir()
	subtitles := filepath.Join(t.TempDir(), "subtitles.srt")
	if err := os.WriteFile(subtitles, []byte("1\n00:00:01,000 --> 00:00:03,000\nHello\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(folder, name)
	runProgram(t, "ffmpeg", slices.Concat([]string{
		"-v", "error",
		"-f", "lavfi", "-i", fmt.Sprintf("testsrc=size=160x120:rate=25:duration=%d,noise=alls=100:allf=t", clipSeconds),
		"-f", "lavfi", "-i", fmt.Sprintf("sine=frequency=440:duration=%d", clipSeconds),
		"-i", subtitles,
	}, arguments, []string{"-b:v", "1M", "-g", "5", "file:" + out})...)
	return out
}

var (
	endMP4   = []string{"-map", "0", "-map", "1", "-c:v", "mpeg4", "-c:a", "aac"}
	startMP4 = append(slices.Clone(endMP4), "-movflags", "+faststart")
	withSubs = []string{"-map", "0", "-map", "1", "-map", "2", "-c:v", "mpeg4", "-c:a", "aac", "-c:s", "srt"}
	onlyMP3  = []string{"-map", "1", "-c:a", "libmp3lame", "-b:a", "320k"}
)

// Seconds in which a file arrives: while it is played, and while it is sought in,
// which a busy machine must have done before.
const (
	playTime = 5
	seekTime = 45
)

// arriving starts a stream of a file or folder that takes so many seconds to arrive.
func arriving(t *testing.T, original string, seconds int64, arguments ...string) *serving {
	t.Helper()
	folder, name := filepath.Split(original)
	var size int64
	err := filepath.WalkDir(original, func(_ string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			var status os.FileInfo
			status, err = entry.Info()
			size += status.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	seeder := startSeederOf(t, folder, name, "--up-limit", fmt.Sprint(size/seconds))
	return startStream(t, t.TempDir(), slices.Concat([]string{seeder.magnet, "--peer", seeder.address}, arguments)...)
}

// playedBeforeComplete reads on to the end of the download or of the player, and returns
// that event. Something must have been played until then.
func (s *serving) playedBeforeComplete(t *testing.T) event {
	t.Helper()
	for played := false; ; {
		switch e := s.next(t); e["event"] {
		case "playback":
			played = played || e["position"].(float64) > 0
		case "complete", "player":
			if !played {
				t.Errorf("nothing was played before %v", e)
			}
			return e
		}
	}
}

// kill ends the stream, and tells whether all had arrived.
func (s *serving) kill(t *testing.T) (complete bool) {
	t.Helper()
	s.Process.Kill()
	rest, err := io.ReadAll(s.lines)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Contains(rest, []byte(`"event":"complete"`))
}

// frames are the checksums of the frames that ffmpeg decodes.
func frames(t *testing.T, input string, before ...string) string {
	t.Helper()
	if !strings.Contains(input, "://") {
		input = "file:" + input
	}
	return runProgram(t, "ffmpeg", slices.Concat([]string{"-v", "error", "-xerror"}, before, []string{"-i", input, "-f", "framemd5", "-"})...)
}

// TestStreamedFramesAreTheSame: ffmpeg, playing or seeking at random in what is just
// being downloaded, decodes what the original file has.
func TestStreamedFramesAreTheSame(t *testing.T) {
	for name, arguments := range map[string][]string{
		"index at the end.mp4":      endMP4,
		"index at the start.mp4":    startMP4,
		"it's 100% naïve #1 日本.mkv": withSubs,
		"music.mp3":                 onlyMP3,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			original := clip(t, name, arguments...)
			playing(t, original, func(url string) {
				if frames(t, url) != frames(t, original) {
					t.Error("other frames from the start on")
				}
				duration := runProgram(t, "ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", url)
				if !strings.HasPrefix(duration, fmt.Sprint(clipSeconds, ".")) {
					t.Errorf("ffprobe reads a duration of %q", duration)
				}
			})
			seekingIn(t, original, func(url string, from float64) {
				// Without the flag it reads an MP3 from its start to the place.
				part := []string{"-fflags", "+fastseek", "-ss", fmt.Sprintf("%.2f", from), "-t", "0.2"}
				if got := frames(t, url, part...); !strings.Contains(got, "\n0,") || got != frames(t, original, part...) {
					t.Errorf("other frames from second %.2f on", from)
				}
			})
		})
	}
}

// TestStreamToPlayer starts players, which end the command when they have played
// all of a film that is still arriving.
func TestStreamToPlayer(t *testing.T) {
	t.Parallel()
	original := clip(t, `a "film".mkv`, withSubs...)
	folder := filepath.Dir(original)
	if err := os.WriteFile(filepath.Join(folder, `a "film".de.srt`), []byte("1\n00:00:01,000 --> 00:00:03,000\nHallo\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	sound := filepath.Join(t.TempDir(), "sound")
	for _, test := range []struct {
		needs, player, arguments string
		takes                    time.Duration // at least
	}{
		{needs: "mpv", player: "mpv", arguments: "--no-config --vo=null --ao=pcm --ao-pcm-file=" + sound + " --untimed"},
		{needs: "vlc", player: vlcCommand(t), takes: clipSeconds * time.Second / vlcRate},
		{needs: "ffmpeg", player: "ffmpeg -v error -xerror -i {} -f null -"},
	} {
		t.Run(test.needs, func(t *testing.T) {
			programPath(t, test.needs)
			s := arriving(t, folder, playTime, "--player", test.player, "--player-args", test.arguments)
			serving := s.event(t, "serving")
			if subtitles, _ := serving["subtitle_urls"].([]any); len(subtitles) != 1 {
				t.Errorf("subtitles %v", subtitles)
			}
			if e := s.event(t, "player"); e["state"] != "started" {
				t.Fatalf("the player has %v", e)
			}
			started := time.Now()
			e := s.playedBeforeComplete(t)
			if e["event"] != "player" {
				e = s.event(t, "player")
			}
			if took := time.Since(started); e["state"] != "ended" || took < test.takes {
				t.Errorf("the player has %v after %v", e, took)
			}
			if code := s.end(t); code != exitDone {
				t.Errorf("exit code %d\n%s", code, s.stderr.String())
			}
			if test.needs != "mpv" {
				return
			}
			// Of one channel, two bytes at 44100 Hz.
			if status, err := os.Stat(sound); err != nil || status.Size() < clipSeconds*44100*2 {
				t.Errorf("not all of the sound was played: %v, %v", status, err)
			}
		})
	}
}

// vlcRate is how many times faster than usual VLC plays.
const vlcRate = 10

// vlcCommand is VLC without a screen, and without being root, which it refuses to
// run as.
func vlcCommand(t *testing.T) string {
	t.Helper()
	vlc := fmt.Sprintf("vlc -I dummy --play-and-exit --no-dbus --vout=dummy --aout=dummy --rate=%d {}", vlcRate)
	if os.Getuid() != 0 {
		return vlc
	}
	return "setpriv --reuid=nobody --clear-groups env HOME=" + vlcFolder(t) + " " + vlc
}

// vlcFolder is a folder that VLC can write to, whoever runs it.
func vlcFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "vlc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestStreamPlayerThatFails says why, and ends the command; with --no-quit it goes on.
func TestStreamPlayerThatFails(t *testing.T) {
	root, _ := filmFolder(t)
	torrent := filepath.Join(root, "films.torrent")
	player := `sh -c 'echo out of popcorn; exit 3'`
	programPath(t, "sh")
	r := causeway(t, root, slices.Concat([]string{"stream", torrent, "--player", player}, loopback)...).want(t, exitFailed)
	if !strings.Contains(r.stderr, "popcorn") || !strings.Contains(r.stderr, "exit status 3") {
		t.Errorf("got %q", r.stderr)
	}
	for _, arguments := range [][]string{{"--player", player, "--no-quit"}, {"--player", "potplayer"}} {
		s := startStream(t, root, append([]string{torrent}, arguments...)...)
		url := s.event(t, "serving")["url"].(string)
		s.event(t, "warning")
		response, err := http.Head(url)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Errorf("status %s", response.Status)
		}
	}
}

// TestStreamAlbum plays fifty files as one playlist.
func TestStreamAlbum(t *testing.T) {
	const tracks = 50
	root := t.TempDir()
	folder := filepath.Join(root, "An album #1, 100%")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	runProgram(t, "ffmpeg", "-v", "error", "-f", "lavfi", "-i", fmt.Sprintf("sine=frequency=440:duration=%d", tracks),
		"-t", fmt.Sprintf("%d.8", tracks-1), // what would be left over is too short to be played
		"-c:a", "libmp3lame", "-f", "segment", "-segment_time", "1", "file:"+strings.ReplaceAll(folder, "%", "%%")+"/Track %d ü.mp3")
	made, err := filepath.Glob(filepath.Join(folder, "*.mp3"))
	if err != nil || len(made) != tracks {
		t.Fatalf("%d tracks, %v", len(made), err)
	}
	seeder := startSeederOf(t, root, filepath.Base(folder))
	s := startStream(t, t.TempDir(), seeder.magnet, "--peer", seeder.address, "--playlist")
	response, err := http.Get(s.event(t, "serving")["playlist_url"].(string))
	if err != nil {
		t.Fatal(err)
	}
	list, err := io.ReadAll(response.Body)
	response.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	played := 0
	for line := range strings.Lines(string(list)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		response, err := http.Get(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(response.Body)
		response.Body.Close()
		want, readErr := os.ReadFile(filepath.Join(folder, fmt.Sprintf("Track %d ü.mp3", played)))
		if err != nil || readErr != nil || !bytes.Equal(got, want) {
			t.Errorf("track %d at %s differs: %v, %v", played, line, err, readErr)
		}
		played++
	}
	if played != len(made) {
		t.Errorf("%d tracks in\n%s", played, list)
	}
	t.Run("mpv", func(t *testing.T) {
		programPath(t, "mpv")
		s := startStream(t, t.TempDir(), seeder.magnet, "--peer", seeder.address, "--playlist",
			"--player", "mpv", "--player-args", "--no-config --ao=pcm --ao-pcm-file="+filepath.Join(t.TempDir(), "sound"))
		if code := s.end(t); code != exitDone {
			t.Errorf("exit code %d\n%s", code, s.stderr.String())
		}
	})
}
