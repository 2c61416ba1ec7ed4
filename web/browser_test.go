package web_test

import (
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/causeway-bt/causeway/bench/realpeer"
	"github.com/causeway-bt/causeway/web/testhost"
)

// figures are what the page counts.
type figures struct {
	Progress float64
	Kept     int64
	Came     struct{ Host, Causeway, Viewers int64 }
	Gave     int64
	Peers    int
	Met      int // direct connections so far
}

type played struct {
	First struct {
		At    float64 // ms since the page was opened
		Width int
	}
	Cue    string
	Sought struct {
		Took float64 // ms
		At   float64 // s
	}
	Video struct {
		Src      string
		Error    string
		Decoded  int64
		HasAudio *bool
	}
	Figures figures
	Notice  string
}

const (
	maxFirstFrame = 2000 // ms
	maxSeek       = 1000 // ms
)

func (p played) judge(t *testing.T) {
	t.Helper()
	share := processorShare()
	if p.First.Width == 0 || p.First.At*share > maxFirstFrame {
		t.Errorf("the first frame is %d wide and took %.0f ms, with %.2f of the processor; want one within %d ms", p.First.Width, p.First.At, share, maxFirstFrame)
	}
	if p.Sought.Took*share > maxSeek {
		t.Errorf("a seek took %.0f ms, with %.2f of the processor: more than %d ms", p.Sought.Took, share, maxSeek)
	}
}

// processorShare is how much of the processors a program gets at most that needs two
// threads, as a browser and its page do, if others want them too: 1 on a quiet machine.
// Times of a machine that does other things say nothing otherwise.
func processorShare() float64 {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 1
	}
	load, err := strconv.ParseFloat(strings.Fields(string(text))[0], 64)
	const ours = 2 // threads that the test itself adds per processor
	if crowd := load / float64(ours*runtime.NumCPU()); err == nil && crowd > 1 {
		return 1 / crowd
	}
	return 1
}

func TestPlaysSeeksAndShowsSubtitles(t *testing.T) {
	for _, c := range []struct {
		browser realpeer.Program
		files   []string
	}{
		{realpeer.Chromium, []string{"film.mp4", "film.en.srt"}},
		{realpeer.Chromium, []string{"clip.webm", "clip.en.srt"}},
		{realpeer.Firefox, []string{"clip.webm", "clip.en.srt"}},
	} {
		t.Run(string(c.browser)+" "+c.files[0], func(t *testing.T) {
			needPage(t, c.browser)
			dir := folderOf(t, c.files...)
			host, tracker := share(t, testhost.Options{Path: dir})
			seed(t, host, dir, tracker)
			var p played
			do(t, c.browser, "plays", host.URL(), &p, nil, nil)
			p.judge(t)
			if !strings.Contains(p.Cue, "The first words.") {
				t.Errorf("the subtitles shown are %q", p.Cue)
			}
			if !strings.Contains(p.Video.Src, "/~/") {
				t.Errorf("it played from %s, not from the swarm", p.Video.Src)
			}
			if p.Figures.Met == 0 {
				t.Error("there is no direct connection to Causeway")
			}
		})
	}
}

func TestPlaysOverHTTPWhereWebRTCIsBlocked(t *testing.T) {
	needPage(t, realpeer.Chromium)
	dir := folderOf(t, "film.mp4")
	host, tracker := share(t, testhost.Options{Path: dir})
	seed(t, host, dir, tracker, "--no-tcp") // ICE over TCP would get through
	var p played
	do(t, realpeer.Chromium, "plays", host.URL(), &p, map[string]any{
		"tracks": false, "direct": false, "flags": []string{"--force-webrtc-ip-handling-policy=disable_non_proxied_udp", "--webrtc-ip-handling-policy=disable_non_proxied_udp"},
	}, nil)
	p.judge(t)
	if p.Figures.Came.Causeway != 0 || p.Figures.Came.Host == 0 {
		t.Errorf("of Causeway %d bytes came over WebRTC and %d over HTTP", p.Figures.Came.Causeway, p.Figures.Came.Host)
	}
}

func TestSaysWhyNobodyIsThere(t *testing.T) {
	for name, c := range map[string]struct {
		words    string
		flags    []string
		noEngine string
		tracker  bool
	}{
		"no WebRTC":      {words: "WebRTC is switched off", noEngine: "delete globalThis.RTCPeerConnection", tracker: true},
		"WebRTC blocked": {words: "blocks it", flags: []string{"--force-webrtc-ip-handling-policy=disable_non_proxied_udp", "--webrtc-ip-handling-policy=disable_non_proxied_udp"}, tracker: true},
		"tracker gone":   {words: "tracker that introduces viewers"},
	} {
		t.Run(name, func(t *testing.T) {
			needPage(t, realpeer.Chromium)
			host, tracker := share(t, testhost.Options{Path: mediaFile(t, "film.mp4")})
			if !c.tracker {
				tracker.Stop()
			}
			var found struct{ Said string }
			do(t, realpeer.Chromium, "says", host.URL(), &found, map[string]any{"words": c.words, "flags": c.flags, "noEngine": c.noEngine}, nil)
		})
	}
}

func TestDownloadIsBitIdentical(t *testing.T) {
	for _, browser := range []realpeer.Program{realpeer.Chromium, realpeer.Firefox} {
		t.Run(string(browser), func(t *testing.T) {
			needPage(t, browser)
			file := mediaFile(t, "film.mp4")
			host, tracker := share(t, testhost.Options{Path: file})
			seed(t, host, file, tracker)
			folder := filepath.Join(t.TempDir(), "downloads")
			if err := os.Mkdir(folder, 0o700); err != nil {
				t.Fatal(err)
			}
			var found struct{ SHA256 string }
			do(t, browser, "downloads", host.URL(), &found, map[string]any{"folder": folder, "name": "film.mp4"}, nil)
			if found.SHA256 != hashOf(t, file) {
				t.Error("the downloaded file differs from the shared one")
			}
		})
	}
}

func TestReloadFetchesNothingAgain(t *testing.T) {
	for _, browser := range []realpeer.Program{realpeer.Chromium, realpeer.Firefox} {
		t.Run(string(browser), func(t *testing.T) {
			needPage(t, browser)
			file := mediaFile(t, "clip.webm")
			host, tracker := share(t, testhost.Options{Path: file})
			seed(t, host, file, tracker)
			var found struct {
				Before, After figures
				Kept          string
			}
			do(t, browser, "reloads", host.URL(), &found, nil, nil)
			size := fileSize(t, file)
			again := found.After.Came.Host + found.After.Came.Causeway + found.After.Came.Viewers
			if again*20 > size {
				t.Errorf("a reload fetched %d of %d bytes again", again, size)
			}
			if found.After.Kept != size {
				t.Errorf("%d of %d bytes were kept", found.After.Kept, size)
			}
		})
	}
}

// TestHiddenPageKeepsItsRate measures a transfer that Causeway limits, so that its rate is
// known and lasts, and timers: a browser that slows them down for a page does not for its
// workers.
func TestHiddenPageKeepsItsRate(t *testing.T) {
	needPage(t, realpeer.Chromium)
	file := filepath.Join(t.TempDir(), "large.bin")
	const size = 256 << 20
	f, err := os.Create(file)
	if err == nil {
		err = f.Truncate(size)
	}
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	host, tracker := share(t, testhost.Options{Path: file, PieceLength: 256 << 10})
	seed(t, host, file, tracker, "--up-limit", "6M")
	var found struct {
		Visible, Hidden struct {
			Rate     float64
			State    []string
			Progress float64
			Ticks    float64 // per second, of a timer that should have two
			Ours     bool    // the timers of webtorrent and of its wires
		}
	}
	do(t, realpeer.Chromium, "hides", host.URL(), &found, nil, nil)
	if s := found.Hidden.State; len(s) != 2 || s[0] != "hidden" || s[1] != "hidden" || found.Visible.State[0] != "visible" {
		t.Fatalf("the page was %v, then %v", found.Visible.State, s)
	}
	if found.Hidden.Progress == 1 {
		t.Fatal("all had come before the measurement ended")
	}
	const leastTicks = 1.6
	if found.Hidden.Ticks < leastTicks || !found.Hidden.Ours {
		t.Errorf("a timer of half a second runs %.1f times a second; the engine has them: %v", found.Hidden.Ticks, found.Hidden.Ours)
	}
	if found.Hidden.Rate < 0.9*found.Visible.Rate {
		t.Errorf("hidden %.1f MB/s, visible %.1f MB/s", found.Hidden.Rate/1e6, found.Visible.Rate/1e6)
	}
}

func TestViewersGiveToEachOther(t *testing.T) {
	needPage(t, realpeer.Chromium)
	file := mediaFile(t, "film.mp4")
	const limit = 400 << 10
	host, tracker := share(t, testhost.Options{Path: file, Limit: limit})
	seed(t, host, file, tracker, "--up-limit", "400K")
	var found struct{ Pages []figures }
	do(t, realpeer.Chromium, "shares", host.URL(), &found, nil, nil)
	for i, p := range found.Pages[1:] {
		all := p.Came.Host + p.Came.Causeway + p.Came.Viewers
		t.Logf("page %d took %d %% from other pages", i+1, 100*p.Came.Viewers/max(all, 1))
		if float64(p.Came.Viewers) < 0.3*float64(all) {
			t.Errorf("page %d took %d of %d bytes from other pages", i+1, p.Came.Viewers, all)
		}
	}
}

// A block that is asked of the host again, while it is on its way after a choke, comes.
func TestTheHostIsAskedAgain(t *testing.T) {
	needPage(t, realpeer.Chromium)
	host, _ := share(t, testhost.Options{Path: mediaFile(t, "film.mp4"), Limit: 20 << 10})
	var found struct {
		Refused       string
		Given, Length any
	}
	do(t, realpeer.Chromium, "asksAgain", host.URL(), &found, nil, nil)
	if found.Refused != "peer is choking" || found.Given != found.Length {
		t.Errorf("first %q, then %v, want %v bytes", found.Refused, found.Given, found.Length)
	}
}

func TestRecoversWhenTheHostComesBack(t *testing.T) {
	needPage(t, realpeer.Chromium)
	file := mediaFile(t, "film.mp4")
	const limit = 120 << 10 // it must not be whole before the host is gone
	host, tracker := share(t, testhost.Options{Path: file, Limit: limit})
	run := seed(t, host, file, tracker, "--up-limit", "120K")
	port := tracker.Port
	var found struct{ Gone string }
	do(t, realpeer.Chromium, "recovers", host.URL(), &found, nil, func(word string) {
		switch word {
		case "stop":
			host.Close()
			tracker.Stop()
			run.Stop()
		case "start":
			if err := host.Restart(); err != nil {
				t.Error(err)
			}
			tracker = realpeer.StartWebTracker(t, port)
			seed(t, host, file, tracker)
		}
	})
}

func TestRemembersWhereYouWere(t *testing.T) {
	needPage(t, realpeer.Chromium)
	host, _ := share(t, testhost.Options{Path: mediaFile(t, "film.mp4")})
	var found struct {
		Left, At float64
		Offered  string
	}
	do(t, realpeer.Chromium, "remembers", host.URL(), &found, nil, nil)
	const near = 2 // s
	if math.Abs(found.Left-found.At) > near || !strings.Contains(found.Offered, "You were at") {
		t.Errorf("left at %.1f s, it opened at %.1f s and said %q", found.Left, found.At, found.Offered)
	}
}

func TestPlaysByKeyboard(t *testing.T) {
	needPage(t, realpeer.Chromium)
	host, _ := share(t, testhost.Options{Path: folderOf(t, "clip.webm", "film.mp4", "film.en.srt", "clip.en.srt")})
	var found struct {
		After struct {
			Muted bool
			Rate  float64
		}
		Forward  struct{ At float64 }
		Captions int
		Next     string
	}
	do(t, realpeer.Chromium, "keys", host.URL()+"#1", &found, nil, nil)
	if math.Abs(found.Forward.At-15) > 1 || !found.After.Muted || found.After.Rate != 1.25 || found.Captions != 0 || found.Next != "#3" {
		t.Errorf("the keys did %+v", found)
	}
}
