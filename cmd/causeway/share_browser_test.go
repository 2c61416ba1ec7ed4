package main_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/causeway-bt/causeway/bench/cli"
	"github.com/causeway-bt/causeway/bench/proc"
	"github.com/causeway-bt/causeway/bench/realpeer"
	"github.com/causeway-bt/causeway/bench/webpage"
	"github.com/causeway-bt/causeway/web"
)

// pageScripts is where the scenarios of the page are.
var pageScripts = filepath.Join("..", "..", "web", "test")

// needSharedPage skips a test that needs the bundled page, Chromium and what drives it.
func needSharedPage(t *testing.T) {
	t.Helper()
	webpage.Need(t, web.Built(), pageScripts, realpeer.Chromium)
}

// inPage runs a scenario of web/test, and fills found with what it found.
func inPage(t *testing.T, s webpage.Scenario, found any) {
	t.Helper()
	result, err := s.Run(pageScripts, t.TempDir(), found)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %.500s", s.Name, result)
}

// noUDP are flags for a Chromium that sends WebRTC over TCP only.
var noUDP = []string{"--force-webrtc-ip-handling-policy=disable_non_proxied_udp", "--webrtc-ip-handling-policy=disable_non_proxied_udp"}

// sharingWithBrowsers is sharing with WebRTC on.
func sharingWithBrowsers(t *testing.T, flags ...string) (*cli.Run, string) {
	t.Helper()
	return sharingBy(t, args([]string{program(t), "share"}, flags))
}

// sharingBy starts a share by a command line, and returns its link.
func sharingBy(t *testing.T, command []string) (*cli.Run, string) {
	t.Helper()
	run, err := cli.StartSpec(proc.Spec{
		Path: command[0], Args: args(command[1:], []string{"--json"}),
		Env: []string{"CAUSEWAY_STATE=" + t.TempDir(), "CAUSEWAY_NO_LSD=true", "CAUSEWAY_NO_PORTMAP=true"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		run.Stop()
		if viewers, ok := run.Last("viewers"); ok && t.Failed() {
			t.Logf("the last of viewers: %+v", viewers)
		}
	})
	serving, err := run.WaitEvent(within(t, patience), "serving")
	if err != nil {
		t.Fatal(err)
	}
	return run, serving.URL
}

// playable makes a film of that many seconds that Chromium plays.
func playable(t *testing.T, seconds string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "film.mp4")
	tool(t, "ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25", "-f", "lavfi", "-i", "sine=frequency=330", "-t", seconds,
		"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "25", "-c:a", "aac", "-movflags", "+faststart", path)
	return path
}

// pageFigures are what a page found of where its bytes came from.
type pageFigures struct {
	Figures struct {
		Came struct{ Host, Causeway, Viewers int64 }
	}
}

// TestSharePlaysAndDownloads: in both browsers, a film plays from the swarm, with the subtitles
// beside it, and can be saved as it is.
func TestSharePlaysAndDownloads(t *testing.T) {
	for _, browser := range []realpeer.Program{realpeer.Chromium, realpeer.Firefox} {
		t.Run(string(browser), func(t *testing.T) {
			needSharedPage(t)
			realpeer.Need(t, browser)
			folder := filepath.Join(t.TempDir(), "film")
			if err := os.Mkdir(folder, 0o755); err != nil {
				t.Fatal(err)
			}
			film := filepath.Join(folder, "film.webm")
			tool(t, "ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=15", "-f", "lavfi", "-i", "sine=frequency=330", "-t", "15",
				"-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "15", "-c:a", "libopus", film)
			const words = "The first words."
			if err := os.WriteFile(filepath.Join(folder, "film.en.srt"), []byte("1\n00:00:00,000 --> 00:00:14,000\n"+words+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			_, link := sharingWithBrowsers(t, args([]string{folder}, onLoopback)...)
			var played struct {
				Cue   string
				Video struct{ Error string }
				pageFigures
			}
			inPage(t, webpage.Scenario{Name: "plays", URL: link, Browser: browser}, &played)
			if !strings.Contains(played.Cue, words) || played.Video.Error != "" || played.Figures.Came.Causeway == 0 {
				t.Errorf("got %+v", played)
			}
			var saved struct{ SHA256 string }
			inPage(t, webpage.Scenario{
				Name: "downloads", URL: link, Browser: browser, Options: map[string]any{"folder": t.TempDir(), "name": "film.webm"},
			}, &saved)
			content, err := os.ReadFile(film)
			if err != nil {
				t.Fatal(err)
			}
			if want := fmt.Sprintf("%x", sha256.Sum256(content)); saved.SHA256 != want {
				t.Errorf("it saved %s, want %s", saved.SHA256, want)
			}
		})
	}
}

// TestShareDeniedWebRTCPlaysByHTTP: a browser that has no way out for WebRTC plays the film all
// the same.
func TestShareDeniedWebRTCPlaysByHTTP(t *testing.T) {
	needSharedPage(t)
	_, link := sharingWithBrowsers(t, args([]string{playable(t, "20"), "--no-tcp"}, onLoopback)...)
	var found pageFigures
	inPage(t, webpage.Scenario{Name: "plays", URL: link, Options: map[string]any{"tracks": false, "direct": false, "flags": noUDP}}, &found)
	if found.Figures.Came.Causeway != 0 || found.Figures.Came.Host == 0 {
		t.Errorf("came: %+v", found.Figures.Came)
	}
}

// TestShareViewersGiveToEachOther: what later viewers get comes from earlier ones, when the
// share's own upload is limited.
func TestShareViewersGiveToEachOther(t *testing.T) {
	needSharedPage(t)
	_, link := sharingWithBrowsers(t, args([]string{playable(t, "20"), "--up-limit", "400K"}, onLoopback)...)
	var found struct {
		Pages []struct {
			Came struct{ Host, Causeway, Viewers int64 }
		}
	}
	inPage(t, webpage.Scenario{Name: "shares", URL: link}, &found)
	for i, page := range found.Pages[1:] {
		c := page.Came
		if all := c.Host + c.Causeway + c.Viewers; float64(c.Viewers) < 0.3*float64(all) {
			t.Errorf("page %d took %d of %d bytes from other pages", i+1, c.Viewers, all)
		}
	}
}

// TestShareTwentyPages: all of twenty tabs get the whole film, and little memory is used.
func TestShareTwentyPages(t *testing.T) {
	needSharedPage(t)
	const pages, most = 20, 150e6
	run, link := sharingWithBrowsers(t, args([]string{playable(t, "20")}, onLoopback)...)
	peak := watchMemory(run)
	var found struct {
		Pages []struct{ Progress float64 }
	}
	inPage(t, webpage.Scenario{Name: "shares", URL: link, Options: map[string]any{"pages": pages, "tabs": true}}, &found)
	if len(found.Pages) != pages {
		t.Errorf("%d pages", len(found.Pages))
	}
	for i, page := range found.Pages {
		if page.Progress != 1 {
			t.Errorf("page %d has %v of it", i, page.Progress)
		}
	}
	run.Stop()
	if used := peak(); used > most {
		t.Errorf("it used %d MB", used/1e6)
	} else {
		t.Logf("it used %d MB", used/1e6)
	}
}

// TestShareStartedAgain: pages that were open when the share ended go on by themselves once the
// same file is shared again.
func TestShareStartedAgain(t *testing.T) {
	needSharedPage(t)
	state, film := t.TempDir(), playable(t, "20")
	flags := args([]string{film, "--state", state, "--listen", "127.0.0.1", "--no-dht", "--up-limit"})
	run, link := sharingWithBrowsers(t, args(flags, []string{"120K"})...)
	var found struct{ Gone string }
	inPage(t, webpage.Scenario{Name: "recovers", URL: link, Said: func(word string) {
		switch word {
		case "stop":
			run.Stop()
		case "start":
			if _, again := sharingWithBrowsers(t, args(flags, []string{"20M"})...); again != link {
				t.Errorf("the link was %s and is %s", link, again)
			}
		}
	}}, &found)
}

// TestShareOverTLS: with a certificate, the page, the tracker and all else are there by https and
// wss, at the same port.
func TestShareOverTLS(t *testing.T) {
	needSharedPage(t)
	certificate, key := selfSigned(t, "127.0.0.1")
	_, link := sharingWithBrowsers(t, args([]string{playable(t, "10"), "--tls-cert", certificate, "--tls-key", key}, onLoopback)...)
	if !strings.HasPrefix(link, "https://") {
		t.Fatalf("the link is %s", link)
	}
	var found pageFigures
	inPage(t, webpage.Scenario{
		Name: "plays", URL: link, Options: map[string]any{"tracks": false, "flags": []string{"--ignore-certificate-errors"}},
	}, &found)
	if found.Figures.Came.Causeway == 0 {
		t.Errorf("came: %+v", found.Figures.Came)
	}
}

// TestShareBridgesWhatAria2Seeds: the only seed of a torrent is aria2, over TCP; the page plays
// it through the share before that has it whole.
func TestShareBridgesWhatAria2Seeds(t *testing.T) {
	needSharedPage(t)
	realpeer.Need(t, realpeer.Aria2)
	path := playable(t, "40")
	torrent := filepath.Join(filepath.Dir(path), "film.torrent")
	tool(t, program(t), "create", path, "-o", torrent)
	aria2 := realpeer.Start(t, realpeer.Options{Program: realpeer.Aria2, Torrent: torrent, Dir: filepath.Dir(path), Seed: true, UpLimit: 400 << 10})
	run, link := sharingWithBrowsers(t, args([]string{torrent, "-o", t.TempDir(), "--peer", aria2.Addr}, onLoopback)...)
	var found pageFigures
	inPage(t, webpage.Scenario{Name: "begins", URL: link}, &found)
	if last, ok := run.Last("progress"); !ok || last.Completed >= last.Length {
		t.Errorf("it was whole when the page had played: %d of %d", last.Completed, last.Length)
	}
	if found.Figures.Came.Causeway+found.Figures.Came.Host == 0 {
		t.Errorf("came: %+v", found.Figures.Came)
	}
}

// TestShareReceivesFromAPage: what is dropped into the page is fetched from it over WebRTC, or
// where that is blocked sent by HTTP.
func TestShareReceivesFromAPage(t *testing.T) {
	needSharedPage(t)
	for name, flags := range map[string][]string{
		"WebRTC": nil,
		"HTTP":   noUDP,
	} {
		t.Run(name, func(t *testing.T) {
			inbox := filepath.Join(t.TempDir(), "inbox")
			run, link := sharingWithBrowsers(t, args([]string{"--receive", inbox, playable(t, "5"), "--no-tcp"}, onLoopback)...)
			const length = 300_000
			var found struct{ Said string }
			inPage(t, webpage.Scenario{
				Name: "sends", URL: link, Options: map[string]any{"name": "a photo.jpg", "length": length, "flags": flags},
			}, &found)
			content, err := os.ReadFile(filepath.Join(inbox, "a photo.jpg"))
			if err != nil || len(content) != length {
				t.Fatalf("%q, and there are %d bytes: %v", found.Said, len(content), err)
			}
			for i, b := range content {
				if b != byte(i*7%251) {
					t.Fatalf("byte %d is %d", i, b)
				}
			}
			received, ok := run.Last("received")
			if !ok || received.WebRTC != (name == "WebRTC") {
				t.Errorf("received by %s: %+v", name, received)
			}
		})
	}
}
