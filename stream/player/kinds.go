package player

import (
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
)

// kind is what is known of one player.
type kind struct {
	programs []string // names on PATH, the likeliest first
	mac      []string // programs inside /Applications
	windows  []string // programs below the Program Files folders
	registry []string // Windows "App Paths" keys
	args     func(Media) []string
}

var kinds = map[string]kind{
	"vlc": {
		programs: []string{"vlc", "cvlc"},
		mac:      []string{"VLC.app/Contents/MacOS/VLC"},
		windows:  []string{`VideoLAN\VLC\vlc.exe`},
		registry: []string{"vlc.exe"},
		args:     vlcArgs,
	},
	"mpv": {
		programs: []string{"mpv"},
		mac:      []string{"mpv.app/Contents/MacOS/mpv"},
		windows:  []string{`mpv\mpv.exe`, `MPV Player\mpv.exe`},
		registry: []string{"mpv.exe"},
		args:     mpvArgs,
	},
	"mplayer": {
		programs: []string{"mplayer", "mplayer2"},
		windows:  []string{`MPlayer\mplayer.exe`},
		args:     mplayerArgs,
	},
	"iina": {
		programs: []string{"iina", "iina-cli"},
		mac:      []string{"IINA.app/Contents/MacOS/iina-cli"},
		args:     iinaArgs,
	},
	"smplayer": {
		programs: []string{"smplayer"},
		mac:      []string{"SMPlayer.app/Contents/MacOS/SMPlayer"},
		windows:  []string{`SMPlayer\smplayer.exe`},
		registry: []string{"smplayer.exe"},
		args:     smplayerArgs,
	},
	"mpc-hc": {
		programs: []string{"mpc-hc64", "mpc-hc"},
		windows:  []string{`MPC-HC\mpc-hc64.exe`, `MPC-HC\mpc-hc.exe`, `K-Lite Codec Pack\MPC-HC64\mpc-hc64.exe`},
		registry: []string{"mpc-hc64.exe", "mpc-hc.exe"},
		args:     mpcArgs,
	},
	"potplayer": {
		programs: []string{"PotPlayerMini64", "PotPlayerMini", "PotPlayer"},
		windows:  []string{`DAUM\PotPlayer\PotPlayerMini64.exe`, `DAUM\PotPlayer\PotPlayerMini.exe`},
		registry: []string{"PotPlayerMini64.exe", "PotPlayerMini.exe"},
		args:     potplayerArgs,
	},
}

// Names returns the players that Find knows by name.
func Names() []string { return slices.Sorted(maps.Keys(kinds)) }

// programName is the name a program would be known by: "/opt/VLC/vlc.exe" is "vlc".
func programName(path string) string {
	name := strings.ToLower(filepath.Base(path))
	name = strings.TrimSuffix(name, ".exe")
	for known, k := range kinds {
		if slices.ContainsFunc(k.programs, func(p string) bool { return strings.EqualFold(p, name) }) {
			return known
		}
	}
	return name
}

// vlcArgs ends VLC with its playlist. --input-slave takes URLs, --sub-file only
// paths; as an option of the item (":") it holds for the URL before it.
func vlcArgs(m Media) []string {
	args := []string{"--play-and-exit", "--no-video-title-show"}
	if m.Title != "" {
		args = append(args, "--meta-title="+m.Title)
	}
	for _, item := range m.Items {
		args = append(args, item.URL)
		if len(item.Subtitles) > 0 {
			slaves := make([]string, len(item.Subtitles))
			for j, s := range item.Subtitles {
				slaves[j] = asURL(s)
			}
			// The separator "#" never occurs bare in a URL without fragment.
			args = append(args, ":input-slave="+strings.Join(slaves, "#"))
		}
	}
	return args
}

// asURL returns a path as a file URL, and URLs as they are.
func asURL(s string) string {
	if strings.Contains(s, "://") {
		return s
	}
	path := filepath.ToSlash(s)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // a Windows drive
	}
	return (&url.URL{Scheme: "file", Path: path}).String()
}

// mpvArgs gives each URL its own subtitles by mpv's per-file options.
func mpvArgs(m Media) []string {
	args := []string{"--no-terminal", "--force-window=immediate"}
	if m.Title != "" {
		args = append(args, "--force-media-title="+m.Title)
	}
	for _, item := range m.Items {
		args = append(args, "--{")
		for _, s := range item.Subtitles {
			args = append(args, "--sub-file="+s)
		}
		args = append(args, item.URL, "--}")
	}
	return args
}

// mplayerArgs gives each URL its own subtitles: options behind a URL are for it
// alone, and commas in names must not separate.
func mplayerArgs(m Media) []string {
	args := []string{"-really-quiet", "-noautosub"}
	for _, item := range m.Items {
		args = append(args, item.URL)
		if len(item.Subtitles) > 0 {
			subs := slices.Clone(item.Subtitles)
			for i, s := range subs {
				subs[i] = strings.ReplaceAll(s, ",", `\,`)
			}
			args = append(args, "-sub", strings.Join(subs, ","))
		}
	}
	return args
}

// iinaArgs passes mpv's options through; without --keep-running iina-cli would
// return before the film has begun.
func iinaArgs(m Media) []string {
	args := append([]string{"--keep-running", "--no-stdin"}, onlySubtitles(m, "--mpv-sub-files-append=")...)
	return append(args, m.urls()...)
}

// onlySubtitles are the flags for the subtitles of the only item: where there
// are more, such a player would show them with all.
func onlySubtitles(m Media, flag string) []string {
	if len(m.Items) != 1 {
		return nil
	}
	var args []string
	for _, s := range m.Items[0].Subtitles {
		args = append(args, flag+s)
	}
	return args
}

// smplayerArgs gives the first URL's subtitles: SMPlayer takes none for others.
func smplayerArgs(m Media) []string {
	args := []string{"-close-at-end"}
	for _, s := range m.Items[0].Subtitles {
		args = append(args, "-sub", s)
	}
	return append(args, m.urls()...)
}

func mpcArgs(m Media) []string {
	args := m.urls()
	if len(m.Items) == 1 {
		for _, s := range m.Items[0].Subtitles {
			args = append(args, "/sub", s)
		}
	}
	return append(args, "/play", "/close")
}

func potplayerArgs(m Media) []string {
	return append(m.urls(), onlySubtitles(m, "/sub=")...)
}
