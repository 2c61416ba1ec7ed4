package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func TestUsageErrors(t *testing.T) {
	root := album(t)
	causeway(t, root, "create", "album").want(t, exitDone)
	if err := os.WriteFile(filepath.Join(root, "bad.torrent"), []byte("d4:infod"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"notes.txt", "notes"} {
		if err := os.WriteFile(filepath.Join(root, name), []byte("my notes"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	empty := t.TempDir()
	magnet := "magnet:?xt=urn:btih:0123456789012345678901234567890123456789"
	tests := []struct {
		arguments string // separated by spaces
		want      string // in the error
	}{
		{"--nonsense", "`causeway` has no flag --nonsense; see `causeway --help`"},
		{"creat album", "did you mean `causeway create`?"},
		{"dwnload x", "there is no command \"dwnload\", and no file of that name; did you mean `causeway download`?"},
		{"sed", "did you mean `causeway seed`?"},
		{"Stream x", "did you mean `causeway stream`?"},
		{"ver", "did you mean `causeway verify` or `causeway version`?"},
		{"play x", "did you mean `causeway stream`?"},
		{"shere x", "did you mean `causeway share`?"},
		{"serve", "there is no command \"serve\", and no file of that name; see `causeway --help`"},
		{"serve --http :8000", "there is no command \"serve\""},
		{"stram x --player vlc", "did you mean `causeway stream`?"},
		{"bridge x", "there is no command \"bridge\""},
		{"serve x y", "there is no command \"serve\""},
		{"-q -o x serve", "there is no command \"serve\""},
		{"album.torrent info", "the command goes first: `causeway info album.torrent`"},
		{"help dwnload", "did you mean `causeway download`?"},
		{"album.torent", "is no file, magnet link"},
		{"folder/serve", "is no file, magnet link"},
		{"0123456789abcdef0123456789abcdef0123456", "infohash (40 hexadecimal"},
		{"notes.txt", "does not look like a torrent: it seems to be text; `causeway seed` shares files"},
		{"info notes.txt", "does not look like a torrent"},
		{"notes", "does not look like a torrent"},
		{"--player vlc album.torrent", "`causeway` has no flag --player; it is one of `causeway stream`"},
		{"download --slot 3 x", "did you mean --slots?"},
		{"download --web-trackers-no x", "did you mean --no-web-trackers?"},
		{"download --ecnryption off x", "did you mean --encryption?"},
		{"download -z x", "`causeway download` has no flag -z; see"},
		{"download ---x x", "\"---x\" is no flag"},
		{"download x --out", "--out needs a value: --out FOLDER; see"},
		{"download x -o", "--out needs a value: --out FOLDER; see"},
		{"download --port 99999999999999999999 x", "--port cannot be 99999999999999999999"},
		{"download --json=maybe x", "--json is true or false, not \"maybe\""},
		{"download --stun foo " + magnet, "--stun needs a URL such as stun:"},
		{"download --turn turn:foo " + magnet, "--turn needs a URL such as turn:USER:PASSWORD@"},
		{"magnet:?dn=x", "no infohash"},
		{"bad.torrent", "not a torrent"},
		{"album", "is a folder"},
		{"download", "needs a magnet link"},
		{"download --select 9 album.torrent", "files 0 to 2"},
		{"download --select *.mkv album.torrent", `"*.mkv" in the selection matches no file`},
		{"download album.torrent -o bad.torrent", `--out needs a folder, and "bad.torrent" is a file`},
		{"stream album.torrent -o bad.torrent", `--out needs a folder, and "bad.torrent" is a file`},
		{"download --port 70000 " + magnet, "--port"},
		{"download --port x " + magnet, "--port needs a whole number, not \"x\""},
		{"download --slots 0 " + magnet, "--slots"},
		{"download --peer 1.2.3.4 " + magnet, "--peer needs HOST:PORT"},
		{"download --peer 1.2.3.4:5 --no-tcp --no-utp " + magnet, "--peer is dialled over TCP or uTP"},
		{"seed album --peer 1.2.3.4:5 --no-tcp --no-utp", "--peer is dialled over TCP or uTP"},
		{"download --select one.txt --select *.mkv album.torrent", `"*.mkv" in the selection matches no file`},
		{"share film --password=", "--password is empty"},
		{"share film --trust-proxy 10.0.0.0", "--trust-proxy needs a network"},
		{"download --dht-bootstrap x:0 " + magnet, "--dht-bootstrap needs HOST:PORT"},
		{"download --tracker tracker.example " + magnet, "--tracker needs"},
		{"download --encryption maybe " + magnet, "off, prefer or require"},
		{"download --down-limit fast " + magnet, "500K or 2M"},
		{"seed", "needs a file"},
		{"seed absent", "there is no such file or folder: absent"},
		{"create absent", "there is no such file or folder: absent"},
		{"verify album.torrent absent", "there is no such file or folder: absent"},
		{"seed " + magnet, "`causeway download --seed`"},
		{"seed " + empty, "no data"},
		{"seed album.torrent --data " + empty, "name the folder that holds it with --data"},
		{"create", "needs the file or folder"},
		{"create album extra", "needs the file or folder"},
		{"create --piece-length 1000 album", "power of two"},
		{"create --tracker x album", "not a tracker's URL"},
		{"create album -o absent/x.torrent", "no folder absent"},
		{"create album -o - --json", "name a file"},
		{"info", "needs one magnet link"},
		{"verify album.torrent", "needs a .torrent file and the folder"},
		{"verify " + magnet + " .", "needs a .torrent file"},
		{"verify album.torrent " + empty, "name the folder that holds it"},
		{"version extra", "needs no argument"},
		{"--select 0", "`causeway` needs a magnet link"},
		{"help nonsense", `no command "nonsense"`},
		{"help create nonsense", `no command "create nonsense"`},
		{"completion nonsense", "needs the name of a shell"},
		{"completion zsh extra", "needs no argument"},
		{"album.torrent ./album.torrent", `"./album.torrent" is the same torrent as "album.torrent"`},
		{"seed album album.torrent", `"album.torrent" is the same torrent as "album"`},
	}
	for _, test := range tests {
		t.Run(test.arguments, func(t *testing.T) {
			r := causeway(t, root, strings.Fields(test.arguments)...).want(t, exitUsage)
			if !strings.HasPrefix(r.stderr, "causeway: ") || strings.Count(r.stderr, "\n") != 1 || !strings.Contains(r.stderr, test.want) {
				t.Errorf("got %q, want one line with %q", r.stderr, test.want)
			}
			if json := strings.Contains(test.arguments, "--json"); r.stdout != "" && !json {
				t.Errorf("standard output has %q", r.stdout)
			}
		})
	}
}

// Whatever is wrong, whoever asked for JSON gets it, though --json may not have been read.
func TestUsageErrorAsJSON(t *testing.T) {
	for _, test := range []struct{ arguments, environment, want string }{
		{arguments: "info absent.torrent --json", want: "absent.torrent"},
		{arguments: "--nonsense --json", want: "--nonsense"},
		{arguments: "info --port x --json=true y", want: "--port"},
		{arguments: "serve --json", want: "no command"},
		{arguments: "info", environment: "CAUSEWAY_JSON=true", want: "needs one magnet link"},
		{arguments: "--nonsense", environment: "CAUSEWAY_JSON=1", want: "--nonsense"},
		{arguments: "info x", environment: "CAUSEWAY_JSON=perhaps", want: ""},
		{arguments: "--nonsense --json=false", environment: "CAUSEWAY_JSON=1", want: ""},
		{arguments: "--nonsense -- --json", want: ""},
	} {
		cmd := command(t, t.TempDir(), strings.Fields(test.arguments)...)
		cmd.Env = append(cmd.Env, test.environment)
		r := finishCommand(t, cmd).want(t, exitUsage)
		if strings.Count(r.stderr, "\n") != 1 {
			t.Errorf("%+v: told people %q", test, r.stderr)
		}
		if test.want == "" {
			if r.stdout != "" {
				t.Errorf("%+v: got %q", test, r.stdout)
			}
			continue
		}
		if message, _ := r.one(t, "error")["message"].(string); !strings.Contains(message, test.want) {
			t.Errorf("%+v: got %q", test, r.stdout)
		}
	}
}

// A folder that has the name of a command by chance is no torrent either.
func TestFolderWithACommandsName(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "serve"), 0o755); err != nil {
		t.Fatal(err)
	}
	r := causeway(t, root, "serve").want(t, exitUsage)
	if want := "causeway: there is no command \"serve\"; and the folder of that name is no torrent (`causeway seed serve` shares it)\n"; r.stderr != want {
		t.Errorf("got %q, want %q", r.stderr, want)
	}
	// A file is taken for a source, whatever its name is.
	torrent := album(t)
	causeway(t, torrent, "create", "album", "-o", filepath.Join(root, "seeed")).want(t, exitDone)
	r = causeway(t, root, slices.Concat([]string{"seeed", "--select", "99"}, loopback)...).want(t, exitUsage)
	if !strings.Contains(r.stderr, "files 0 to 2") {
		t.Errorf("got %q", r.stderr)
	}
}

func TestAlike(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"slot", "slots", true},
		{"downlimit", "down-limit", true},
		{"limit-down", "down-limit", true},
		{"no_dht", "no-dht", true},
		{"encrypton", "encryption", true},
		{"out", "stun", false},
		{"data", "seed", false},
		{"player", "peer", false},
	} {
		if alike(test.a, test.b) != test.want {
			t.Errorf("%q and %q: want %v", test.a, test.b, test.want)
		}
	}
}

func TestHelp(t *testing.T) {
	for _, arguments := range []string{
		"", "help", "--help", "create --help", "download --help", "info --help", "seed --help", "verify --help",
		"version --help", "help completion", "completion", "completion bash",
	} {
		r := causeway(t, t.TempDir(), strings.Fields(arguments)...).want(t, exitDone)
		if r.stderr != "" || !strings.Contains(r.stdout, "causeway") {
			t.Errorf("%q: %+v", arguments, r)
		}
		if !strings.Contains(arguments, "completion") && !strings.Contains(r.stdout, "Examples:\n  causeway") {
			t.Errorf("%q shows no example", arguments)
		}
	}
}

func TestFlagsFromTheEnvironment(t *testing.T) {
	root := album(t)
	cmd := command(t, root, "create", "album", "--comment", "flag")
	cmd.Env = append(cmd.Env,
		"CAUSEWAY_COMMENT=environment", "CAUSEWAY_PIECE_LENGTH=32K", "CAUSEWAY_JSON=true",
		"CAUSEWAY_TRACKER=http://a/ http://b/", "CAUSEWAY_NO_WEB_TRACKERS=true", "CAUSEWAY_HELP=true", "CAUSEWAY_NAME=")
	e := finishCommand(t, cmd).want(t, exitDone).one(t, "torrent")
	magnet, _ := e["magnet"].(string)
	if e["piece_length"] != 32768.0 || !strings.HasSuffix(magnet, "&tr=http%3A%2F%2Fa%2F&tr=http%3A%2F%2Fb%2F") {
		t.Errorf("got %v", e)
	}
	if r := causeway(t, root, "info", "album.torrent").want(t, exitDone); !strings.Contains(r.stdout, "Comment     flag") {
		t.Errorf("the command line does not go first:\n%s", r.stdout)
	}
	cmd = command(t, root, "create", "album")
	cmd.Env = append(cmd.Env, "CAUSEWAY_PIECE_LENGTH=much")
	if r := finishCommand(t, cmd).want(t, exitUsage); !strings.Contains(r.stderr, "environment variable CAUSEWAY_PIECE_LENGTH") {
		t.Errorf("got %q", r.stderr)
	}
}

func TestSlotsForBrowsers(t *testing.T) {
	for _, test := range []struct {
		flags, environment string
		want               int // as in client.Config
		err                string
	}{
		{flags: "", want: 0},
		{flags: "--slots 2", want: 0},
		{environment: "CAUSEWAY_SLOTS=3", want: 0},
		{flags: "--slots 2 --web-slots 2", want: 2},
		{flags: "--slots 2 --web-slots 3", err: "--web-slots must be from 0 to --slots (2), not 3"},
		{flags: "--slots 2", environment: "CAUSEWAY_WEB_SLOTS=4", err: "--web-slots must be from 0 to --slots (2), not 4"},
		{flags: "--web-slots 0", want: -1},
		{flags: "--web-slots -1", err: "--web-slots must be from 0"},
	} {
		var f engineFlags
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		f.add(flags)
		if err := flags.Parse(strings.Fields(test.flags)); err != nil {
			t.Fatal(err)
		}
		if err := flagsFromEnvironment(flags, func(name string) (string, bool) {
			return strings.CutPrefix(test.environment, name+"=")
		}); err != nil {
			t.Fatal(err)
		}
		switch err := f.check(); {
		case test.err != "":
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%q, %q: got %v, want %q", test.flags, test.environment, err, test.err)
			}
		case err != nil || f.keptForBrowsers() != test.want:
			t.Errorf("%q, %q: got %d, %v, want %d", test.flags, test.environment, f.keptForBrowsers(), err, test.want)
		}
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "none": 0, "1": 1, "1000": 1000, "500K": 500 << 10, "2M": 2 << 20, "2m": 2 << 20, "1.5G": 3 << 29,
		"1T": 1 << 40, "16KiB": 16 << 10, "16 KB": 16 << 10, "100B": 100,
	} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("%q: got %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "K", "-1", "1X", "1KM", "1e9", "inf", "nan", "0x10", "9999999T", "."} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("%q was read as %d", text, got)
		}
	}
	if got := formatPercent(999_999, 1_000_000); got != "99.9 %" {
		t.Errorf("almost all is %s", got)
	}
}
