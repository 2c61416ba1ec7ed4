package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// completed is what the program tells a shell.
type completed struct {
	values    []string // without their descriptions
	directive cobra.ShellCompDirective
}

// complete asks the program, in a folder, how the last argument goes on.
func complete(t *testing.T, folder string, arguments ...string) (c completed) {
	t.Helper()
	r := causeway(t, folder, append([]string{"__complete"}, arguments...)...).want(t, exitDone)
	lines := strings.Split(strings.TrimSuffix(r.stdout, "\n"), "\n")
	if _, err := fmt.Sscanf(lines[len(lines)-1], ":%d", &c.directive); err != nil {
		t.Fatalf("%q: %v", r.stdout, err)
	}
	for _, line := range lines[:len(lines)-1] {
		value, _, _ := strings.Cut(line, "\t")
		c.values = append(c.values, value)
	}
	return c
}

const (
	filesOf    = cobra.ShellCompDirectiveFilterFileExt
	anyFile    = cobra.ShellCompDirectiveDefault
	folders    = cobra.ShellCompDirectiveFilterDirs
	nothing    = cobra.ShellCompDirectiveNoFileComp
	inOrder    = cobra.ShellCompDirectiveKeepOrder
	listedFile = nothing | inOrder | cobra.ShellCompDirectiveNoSpace
)

func TestCompletion(t *testing.T) {
	root := album(t)
	causeway(t, root, "create", "album").want(t, exitDone)
	causeway(t, root, "create", "album", "-o", "seed me.torrent").want(t, exitDone)
	for _, test := range []struct {
		arguments string // by blanks; the last one is to be completed
		values    string
		directive cobra.ShellCompDirective
	}{
		{"", "completion create doctor download help info mount seed share stream tracker verify version album.torrent seed me.torrent", nothing},
		{"s", "seed share stream seed me.torrent", nothing},
		{"st", "stream", nothing},
		{"x", "torrent", filesOf},
		{"album/", "torrent", filesOf},
		{"album.torrent ", "torrent", filesOf},
		{"--quiet s", "seed share stream seed me.torrent", nothing},
		{"download ", "torrent", filesOf},
		{"download album.torrent ", "torrent", filesOf},
		{"info ", "torrent", filesOf},
		{"info album.torrent ", "", nothing},
		{"stream ", "torrent", filesOf},
		{"stream album.torrent ", "", nothing},
		{"verify ", "torrent", filesOf},
		{"verify album.torrent ", "", anyFile},
		{"verify album.torrent . ", "", nothing},
		{"create ", "", anyFile},
		{"create album ", "", nothing},
		{"seed album ", "", anyFile},
		{"version ", "", nothing},
		{"completion ", "bash fish powershell zsh", nothing},
		{"completion bash ", "", nothing},
		{"help s", "seed share stream", nothing},
		{"download --encryption ", "off prefer require", nothing | inOrder},
		{"download --encryption=p", "prefer", nothing | inOrder},
		{"--encryption r", "require", nothing | inOrder},
		{"stream --player mp", "mpc-hc mplayer mpv", anyFile | inOrder},
		{"stream --player /usr/bin/", "", anyFile | inOrder},
		{"create --piece-length 1", "16K 128K 1M 16M 128M", nothing | inOrder},
		{"download --listen 127.0", "127.0.0.1", nothing},
		{"download -o ", "", folders},
		{"download --out=", "", folders},
		{"info --state ", "", folders},
		{"seed --data ", "", folders},
		{"create -o ", "", anyFile},
		{"stream --subtitles ", "", anyFile},
		{"stream --on-done ", "", anyFile},
		{"download --port ", "", nothing},
		{"download --tracker ", "", nothing},
		{"download album.torrent --select ", "0 1 2", listedFile},
		{"download album.torrent --select 0,", "0,0 0,1 0,2", listedFile},
		{"download --select ", "", nothing},
		{"stream album.torrent --file ", "0 1 2", listedFile},
		{"download --enc", "--encryption", nothing},
		{"download --select x --sel", "--select", nothing}, // it can be repeated
		{"download --seed --see", "", nothing},             // it cannot
	} {
		arguments := strings.Split(test.arguments, " ")
		got := complete(t, root, arguments...)
		if values := strings.Join(got.values, " "); values != test.values || got.directive != test.directive {
			t.Errorf("%q: got %q with %d, want %q with %d", test.arguments, values, got.directive, test.values, test.directive)
		}
	}
}

// No flag offers files where it takes none: what it takes is known.
func TestEveryFlagIsCompleted(t *testing.T) {
	takeFiles := []string{"FILE", "COMMAND", "PLAYER", "ARGUMENTS"}
	takeNothing := []string{"ORIGIN", "NUMBER", "PORT", "HOST:PORT", "URL", "RATE", "SIZE", "NAME", "TEXT", "TAG", "SECRET", "TIME", "NETWORK", "USER:PASSWORD", "RANGE"}
	for _, cmd := range everyCommand() {
		cmd.Flags().VisitAll(func(flag *pflag.Flag) {
			if flag.NoOptDefVal != "" || flag.Hidden {
				return
			}
			placeholder, _ := pflag.UnquoteUsage(flag)
			complete, ok := cmd.GetFlagCompletionFunc(flag.Name)
			if !ok {
				t.Errorf("`%s`: --%s is not completed", cmd.CommandPath(), flag.Name)
				return
			}
			enumerated := flag.Annotations[valuesAnnotation] != nil
			if byPlaceholder[placeholder] == nil && !enumerated && !slices.Contains(takeNothing, placeholder) {
				t.Errorf("`%s`: nobody says how the %q of --%s is completed", cmd.CommandPath(), placeholder, flag.Name)
			}
			_, directive := complete(cmd, nil, "")
			if files := directive&(nothing|folders) == 0; files != slices.Contains(takeFiles, placeholder) {
				t.Errorf("`%s`: --%s %s: files are completed: %v", cmd.CommandPath(), flag.Name, placeholder, files)
			}
		})
	}
}

// Every value that is completed is one that the program takes.
func TestCompletedValuesAreTaken(t *testing.T) {
	root := album(t)
	for _, value := range complete(t, root, "create", "--piece-length", "").values {
		causeway(t, root, "create", "album", "-o", value+".torrent", "--piece-length", value).want(t, exitDone)
	}
	for _, value := range complete(t, root, "download", "--encryption", "").values {
		if r := causeway(t, root, "download", "--encryption", value, "absent.torrent").want(t, exitUsage); !strings.Contains(r.stderr, "absent") {
			t.Errorf("--encryption %s: %s", value, r.stderr)
		}
	}
}

// Names that a terminal would obey come through as text.
func TestCompletedNamesAreHarmless(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "x", "a\x1b[2J\nb"), []byte("a"), 0o644); err != nil {
		t.Skipf("no such name here: %v", err)
	}
	causeway(t, root, "create", "x", "-o", "x.torrent").want(t, exitDone)
	r := causeway(t, root, "__complete", "download", "x.torrent", "--select", "").want(t, exitDone)
	if lines := strings.Split(r.stdout, "\n"); len(lines) != 3 || strings.ContainsRune(r.stdout, '\x1b') || !strings.HasPrefix(lines[0], "0\t") {
		t.Errorf("got %q", r.stdout)
	}
}
