package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// shell runs a script in a folder, with the program on its path as causeway, and returns
// what it prints.
func shell(t *testing.T, folder string, arguments ...string) string {
	t.Helper()
	programPath(t, arguments[0])
	program := command(t, folder)
	bin := t.TempDir()
	if err := os.Symlink(program.Path, filepath.Join(bin, "causeway")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	cmd := exec.CommandContext(ctx, arguments[0], arguments[1:]...)
	cmd.Dir = folder
	cmd.Env = append(program.Env, "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", arguments[0], err, out)
	}
	return string(out)
}

// shellCompletions are lines that are typed into a shell, and to what they may be completed.
var shellCompletions = []struct {
	line  string
	wants string // words, by blanks
}{
	{"causeway st", "stream"},
	{"causeway seed", "seed"},
	{"causeway download --encryption ", "off prefer require"},
	{"causeway download --enc", "--encryption"},
	{"causeway stream --player mp", "mpc-hc mplayer mpv"},
	{"causeway info album.t", "album.torrent"},
	{"causeway album.t", "album.torrent"},
	{"causeway download -o alb", "album"},
	{"causeway create notes.", "notes.txt"},
}

// shellFolder is where they are typed.
func shellFolder(t *testing.T) string {
	t.Helper()
	root := album(t)
	causeway(t, root, "create", "album").want(t, exitDone)
	if err := os.WriteFile(filepath.Join(root, "notes.txt"), []byte("notes"), 0o644); err != nil {
		t.Fatal(err)
	}
	return root
}

// words are what shells list, without descriptions and the slashes behind folders.
func words(text string) string {
	var all []string
	for line := range strings.Lines(text) {
		word, _, _ := strings.Cut(strings.TrimSpace(line), "\t")
		word, _, _ = strings.Cut(word, " ")
		if word = strings.TrimSuffix(word, "/"); word != "" {
			all = append(all, word)
		}
	}
	return strings.Join(all, " ")
}

func TestBashCompletes(t *testing.T) {
	const script = `
		source /usr/share/bash-completion/bash_completion
		source <(causeway completion bash)
		COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=9
		read -ra COMP_WORDS <<<"$1"
		[[ $1 == *' ' ]] && COMP_WORDS+=('')
		COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
		compopt() { :; } # it works in a shell that reads from a terminal only
		__start_causeway
		((${#COMPREPLY[@]})) || mapfile -t COMPREPLY < <(compgen -f -- "${COMP_WORDS[COMP_CWORD]}") # as -o default does
		printf '%s\n' "${COMPREPLY[@]}"
	`
	root := shellFolder(t)
	for _, test := range shellCompletions {
		if got := words(shell(t, root, "bash", "-c", script, "bash", test.line)); got != test.wants {
			t.Errorf("%q: got %q, want %q", test.line, got, test.wants)
		}
	}
}

func TestFishCompletes(t *testing.T) {
	root := shellFolder(t)
	for _, test := range shellCompletions {
		script := "causeway completion fish | source; complete -C '" + test.line + "'"
		got := strings.Fields(words(shell(t, root, "fish", "--no-config", "-c", script)))
		for _, want := range strings.Fields(test.wants) { // fish finds what merely contains the word, too
			if !strings.Contains(" "+strings.Join(got, " ")+" ", " "+want+" ") {
				t.Errorf("%q: got %q, want %q", test.line, got, test.wants)
			}
		}
	}
}

func TestZshCompletes(t *testing.T) {
	// A shell that reads from a terminal, into which is typed; its answer ends with what
	// the next line is expected to print.
	const script = `
		zmodload zsh/zpty
		zpty z 'PS1= zsh -f -i'
		zpty -w z 'unsetopt zle_bracketed_paste; zstyle ":completion:*" list-separator ""; autoload -U compinit; compinit -u -D; source <(causeway completion zsh); setopt no_beep; print re""ady'
		zpty -r z line '*ready*'
		zpty -w -n z "$1"$'\t'
		zpty -r z line "*$2*"
		print -r -- found
	`
	root := shellFolder(t)
	for _, test := range shellCompletions {
		wants := strings.Fields(test.wants)
		if len(wants) > 1 {
			continue // lists are drawn; what is inserted is enough
		}
		typed := strings.Fields(test.line)
		rest := strings.TrimPrefix(wants[0], typed[len(typed)-1])
		if rest == "" {
			continue
		}
		if got := shell(t, root, "zsh", "-f", "-c", script, "zsh", test.line, wants[0]); got != "found\n" {
			t.Errorf("%q: got %q, want %q", test.line, got, test.wants)
		}
	}
}
