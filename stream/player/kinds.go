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
// paths; as an option of the item (":") it holds for the first URL alone.
func vlcArgs(m Media) []string {
	args := []string{"--play-and-exit", "--no-video-title-show"}
	if m.Title != "" {
		args = append(args, "--meta-title="+m.Title)
	}
	for i, u := range m.URLs {
		args = append(args, u)
		if i == 0 && len(m.Subtitles) > 0 {
			slaves := make([]string, len(m.Subtitles))
			for j, s := range m.Subtitles {
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

// mpvArgs gives the subtitles to the first URL alone by mpv's per-file options.
func mpvArgs(m Media) []string {
	args := []string{"--no-terminal", "--force-window=immediate"}
	if m.Title != "" {
		args = append(args, "--force-media-title="+m.Title)
	}
	return append(args, perFile(m, "--sub-file=")...)
}

func perFile(m Media, flag string) []string {
	if len(m.Subtitles) == 0 {
		return append([]string{"--"}, m.URLs...)
	}
	args := []string{"--{"}
	for _, s := range m.Subtitles {
		args = append(args, flag+s)
	}
	args = append(args, m.URLs[0], "--}")
	return append(args, m.URLs[1:]...)
}

func mplayerArgs(m Media) []string {
	args := []string{"-really-quiet", "-noautosub"}
	if len(m.Subtitles) > 0 {
		args = append(args, "-sub", strings.Join(m.Subtitles, ","))
	}
	return append(args, m.URLs...)
}

// iinaArgs passes mpv's options through; without --keep-running iina-cli would
// return before the film has begun.
func iinaArgs(m Media) []string {
	args := []string{"--keep-running", "--no-stdin"}
	for _, s := range m.Subtitles {
		args = append(args, "--mpv-sub-files-append="+s)
	}
	return append(args, m.URLs...)
}

func smplayerArgs(m Media) []string {
	args := []string{"-close-at-end"}
	for _, s := range m.Subtitles {
		args = append(args, "-sub", s)
	}
	return append(args, m.URLs...)
}

func mpcArgs(m Media) []string {
	args := slices.Clone(m.URLs)
	for _, s := range m.Subtitles {
		args = append(args, "/sub", s)
	}
	return append(args, "/play", "/close")
}

func potplayerArgs(m Media) []string {
	args := slices.Clone(m.URLs)
	for _, s := range m.Subtitles {
		args = append(args, "/sub="+s)
	}
	return args
}
