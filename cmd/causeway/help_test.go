package main

import (
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/rivo/uniseg"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// everyCommand is the program's commands, hidden ones too, and those of cobra.
func everyCommand() (all []*cobra.Command) {
	a := &app{in: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard}
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		all = append(all, cmd)
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(a.rootCommand())
	return all
}

func TestEveryFlagHasAGroup(t *testing.T) {
	for _, cmd := range everyCommand() {
		cmd.InheritedFlags()
		cmd.Flags().VisitAll(func(flag *pflag.Flag) {
			if !slices.Contains(flagGroups, groupOf(flag)) {
				t.Errorf("`%s`: --%s is not registered in one of the groups", cmd.CommandPath(), flag.Name)
			}
		})
	}
}

func TestHelpFits(t *testing.T) {
	for _, cmd := range everyCommand() {
		for _, width := range []int{narrowestHelp, 57, usualHelp, widestHelp} {
			for line := range strings.Lines(helpText(cmd, width)) {
				line = strings.TrimRight(line, "\n")
				// What is to be typed is not wrapped.
				typed := width < usualHelp && strings.Contains(cmd.Example+strings.ReplaceAll(cmd.Long, "\t", "  "), line)
				if uniseg.StringWidth(line) > width && !typed {
					t.Errorf("`%s --help` has, for %d columns, %q", cmd.CommandPath(), width, line)
				}
			}
		}
	}
}

func TestWrap(t *testing.T) {
	for _, test := range []struct {
		text  string
		width int
		want  string
	}{
		{"", 10, ""},
		{"one two three", 7, "one two|three"},
		{"one two three", 8, "one two|three"},
		{"one two three", 13, "one two three"},
		{"immeasurable x", 5, "immeasurable|x"},
		{"日本語 日本語", 6, "日本語|日本語"},
		{"  a \n b\t", 10, "a b"},
	} {
		if got := strings.Join(wrap(test.text, test.width), "|"); got != test.want {
			t.Errorf("%q in %d columns: got %q, want %q", test.text, test.width, got, test.want)
		}
	}
}

// All commands show a flag in the same place and in the same words.
func TestHelpIsGroupedAlike(t *testing.T) {
	words := make(map[string]string) // by flag, of those that talk to peers
	for _, name := range []string{"download", "info", "seed", "stream"} {
		text := causeway(t, t.TempDir(), name, "--help").want(t, exitDone).stdout
		at := -1
		for _, title := range []flagGroup{groupStorage, groupPeers, groupBrowsers, groupLimits, groupOutput} {
			next := strings.Index(text, "\n"+string(title)+":\n")
			if next <= at {
				t.Errorf("%s: no group %q, or not in its place, in\n%s", name, title, text)
			}
			at = next
		}
		if strings.Count(text, "CAUSEWAY_DOWN_LIMIT") != 1 {
			t.Errorf("%s does not tell once how variables are named", name)
		}
	}
	for _, cmd := range everyCommand() {
		if cmd.Flags().Lookup("encryption") == nil {
			continue
		}
		for _, section := range flagSections(cmd) {
			for _, flag := range section.flags {
				_, text := flagText(flag)
				text = section.title + ": " + text
				own := flag.Name == "select" || flag.Name == "http"
				if shared := words[flag.Name]; shared != "" && shared != text && !own {
					t.Errorf("`%s`: --%s is %q, elsewhere %q", cmd.CommandPath(), flag.Name, text, shared)
				}
				words[flag.Name] = text
			}
		}
	}
	for name, want := range map[string]string{
		"encryption": "Peers: MODE of connections: off, prefer or require (default prefer)",
		"slots":      "Limits: upload to at most NUMBER peers at a time, for each torrent (default 8)",
	} {
		if words[name] != want {
			t.Errorf("--%s: got %q, want %q", name, words[name], want)
		}
	}
	for name, text := range words {
		if strings.Count(text, "default") > 1 {
			t.Errorf("--%s tells its default twice: %q", name, text)
		}
	}
}
