package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// manPages has the program write its man pages, and returns their folder.
func manPages(t *testing.T) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "man1")
	cmd := command(t, t.TempDir(), "man", folder)
	cmd.Env = append(cmd.Env, "SOURCE_DATE_EPOCH=1000000000")
	told := finishCommand(t, cmd).want(t, exitDone).stdout
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != strings.Count(told, "\n") {
		t.Errorf("%d pages, and told are:\n%s", len(entries), told)
	}
	return folder
}

// A page tells of a command what its help tells.
func TestManPagesAreHelp(t *testing.T) {
	folder := manPages(t)
	for _, cmd := range everyCommand() {
		hidden := cmd.Hidden || cmd.HasParent() && cmd.Name() == "help"
		page, err := os.ReadFile(filepath.Join(folder, manName(cmd)+".1"))
		if hidden != (err != nil) {
			t.Errorf("`%s`: %v", cmd.CommandPath(), err)
		}
		if hidden {
			continue
		}
		text := strings.NewReplacer(`\-`, "-", `\(aq`, "'", `\(ga`, "`", `\(ti`, "~", "\n", " ").Replace(string(page))
		if !strings.Contains(text, `"2001-09-09"`) {
			t.Errorf("`%s` has another date", cmd.CommandPath())
		}
		at := 0
		for _, want := range manWants(cmd) {
			next := strings.Index(text[at:], want)
			if next < 0 {
				t.Fatalf("`%s`: no %q, or not in its place, in\n%s", cmd.CommandPath(), want, page)
			}
			at += next
		}
	}
}

// manWants is what the page of a command has, in this order.
func manWants(cmd *cobra.Command) []string {
	wants := []string{".SH NAME", cmd.Short, ".SH SYNOPSIS", cmd.CommandPath(), ".SH DESCRIPTION", ".SH OPTIONS"}
	for _, section := range flagSections(cmd) {
		wants = append(wants, ".SS "+section.title)
		for _, flag := range section.flags {
			_, text := flagText(flag)
			wants = append(wants, "--"+flag.Name, text[1:])
		}
	}
	return append(wants, ".SH ENVIRONMENT", "CAUSEWAY_DOWN_LIMIT", ".SH EXIT STATUS")
}

func TestManPagesRender(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join(manPages(t), "*.1"))
	if err != nil || len(pages) == 0 {
		t.Fatal(pages, err)
	}
	for _, lint := range [][]string{{"mandoc", "-T", "lint", "-W", "warning"}, {"groff", "-man", "-Tutf8", "-ww", "-z"}} {
		t.Run(lint[0], func(t *testing.T) {
			if out, err := exec.Command(programPath(t, lint[0]), append(lint[1:], pages...)...).CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

func TestRoff(t *testing.T) {
	for text, want := range map[string]string{
		"a-b": `a\-b`, ".TH": `\&.TH`, "'a'": `\(aqa\(aq`, `C:\x`: `C:\ex`, "a\n.b": "a\n\\&.b", "~/x": `\(ti/x`, "a.b": "a.b",
	} {
		if got := roff(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestManNeedsAFolder(t *testing.T) {
	root := t.TempDir()
	file := filepath.Join(root, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if r := causeway(t, root, "man", "file").want(t, exitUsage); !strings.Contains(r.stderr, "cannot make the folder") {
		t.Errorf("got %q", r.stderr)
	}
	causeway(t, root, "man").want(t, exitUsage)
}
