package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/causeway-bt/causeway/client"
)

// manExitStatus and manEnvironment are the same on every page.
const (
	manExitStatus = `.TP
.B 0
Done.
.TP
.B 1
It failed while running.
.TP
.B 2
Wrong usage, or input that cannot be read.
.TP
.B 130
Interrupted; the same command continues where it stopped.
A second interrupt ends the program at once.
`
	manEnvironment = environmentHelp + " Flags that can be repeated take several values there, with spaces between them."
)

// manCommand is for packagers, and for make man; it is not shown.
func (a *app) manCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "man FOLDER",
		Short:             "Write the man pages into a folder",
		Hidden:            true,
		Example:           `  causeway man /usr/local/share/man/man1`,
		Args:              arguments(1, 1, "the folder to write man pages into"),
		ValidArgsFunction: completeFolder,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.writeManPages(cmd.Root(), args[0], buildDate(os.LookupEnv))
		},
	}
}

// writeManPages writes a page for cmd and each command below it, and prints their paths.
func (a *app) writeManPages(cmd *cobra.Command, folder string, date time.Time) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return usagef("cannot make the folder of the man pages: %v", err)
	}
	path := filepath.Join(folder, manName(cmd)+".1")
	if err := os.WriteFile(path, []byte(manPage(cmd, date)), 0o644); err != nil {
		return fmt.Errorf("cannot write a man page: %w", err)
	}
	a.result(path)
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			if err := a.writeManPages(sub, folder, date); err != nil {
				return err
			}
		}
	}
	return nil
}

// buildDate is the date of the commit that the program was built from; packagers may set
// SOURCE_DATE_EPOCH, as reproducible-builds.org has it.
func buildDate(lookup func(string) (string, bool)) time.Time {
	if text, ok := lookup("SOURCE_DATE_EPOCH"); ok {
		if seconds, err := strconv.ParseInt(text, 10, 64); err == nil {
			return time.Unix(seconds, 0).UTC()
		}
	}
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range build.Settings {
			if setting.Key != "vcs.time" {
				continue
			}
			if committed, err := time.Parse(time.RFC3339, setting.Value); err == nil {
				return committed.UTC()
			}
		}
	}
	return time.Now().UTC()
}

// manName is what man is asked for: causeway-seed for `causeway seed`.
func manName(cmd *cobra.Command) string {
	return strings.ReplaceAll(cmd.CommandPath(), " ", "-")
}

// manPage is the page of a command, in the man(7) macros. It has what --help has.
func manPage(cmd *cobra.Command, date time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH %q 1 %q %q %q\n", strings.ToUpper(manName(cmd)), date.Format(time.DateOnly), "Causeway "+client.Version, "Causeway manual")
	b.WriteString(".nh\n.ad l\n") // names of flags and variables are not to be broken
	b.WriteString(".SH NAME\n" + roff(manName(cmd)) + ` \- ` + roff(cmd.Short) + "\n")
	b.WriteString(".SH SYNOPSIS\n.nf\n")
	for _, way := range usageWays(cmd) {
		b.WriteString(roff(way) + "\n")
	}
	b.WriteString(".fi\n")
	b.WriteString(".SH DESCRIPTION\n" + manText(description(cmd)))
	if cmd.HasAvailableSubCommands() {
		b.WriteString(".SH COMMANDS\n")
		for _, sub := range availableCommands(cmd) {
			b.WriteString(".TP\n.B " + roff(sub.Name()) + "\n" + manSentence(sub.Short))
		}
	}
	b.WriteString(".SH OPTIONS\n")
	for _, section := range flagSections(cmd) {
		b.WriteString(".SS " + roff(section.title) + "\n")
		for _, flag := range section.flags {
			placeholder, text := flagText(flag)
			names := `\fB` + roff("--"+flag.Name) + `\fR`
			if flag.Shorthand != "" {
				names = `\fB` + roff("-"+flag.Shorthand) + `\fR, ` + names
			}
			if placeholder != "" {
				names += ` \fI` + roff(placeholder) + `\fR`
			}
			b.WriteString(".TP\n" + names + "\n" + manSentence(text))
		}
	}
	b.WriteString(".SH ENVIRONMENT\n" + manLines(manEnvironment))
	b.WriteString(".SH EXIT STATUS\n" + manExitStatus)
	if cmd.Example != "" {
		b.WriteString(".SH EXAMPLES\n" + manLiteral(cmd.Example, false))
	}
	if others := manSeeAlso(cmd); len(others) > 0 {
		b.WriteString(".SH SEE ALSO\n" + strings.Join(others, "\n") + "\n")
	}
	return b.String()
}

// manSeeAlso names the pages around that of a command.
func manSeeAlso(cmd *cobra.Command) (pages []string) {
	add := func(other *cobra.Command) {
		pages = append(pages, ".BR "+roff(manName(other))+" (1)")
	}
	if cmd.HasParent() {
		add(cmd.Parent())
	}
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			add(sub)
		}
	}
	for i := range pages[:max(len(pages)-1, 0)] {
		pages[i] += ","
	}
	return pages
}

// manText is a description.
func manText(text string) string {
	var b strings.Builder
	for i, paragraph := range paragraphs(text) {
		switch {
		case paragraph.literal:
			b.WriteString(manLiteral(paragraph.text, i > 0))
			continue
		case i > 0:
			b.WriteString(".PP\n")
		}
		b.WriteString(manLines(paragraph.text))
	}
	return b.String()
}

// manLines is text that is filled, in lines that fit.
func manLines(text string) string {
	const columns = 70 // of 80; escapes take some
	return roff(strings.Join(wrap(text, columns), "\n")) + "\n"
}

// manSentence makes one of what help tells in a table.
func manSentence(text string) string {
	return manLines(strings.ToUpper(text[:1]) + text[1:] + ".")
}

// manLiteral is what is to be typed, indented, after other text or at the beginning.
func manLiteral(text string, after bool) string {
	var b strings.Builder
	if after {
		b.WriteString(".PP\n")
	}
	b.WriteString(".RS 4\n.nf\n")
	for line := range strings.Lines(text) {
		b.WriteString(roff(strings.TrimSpace(line)) + "\n")
	}
	b.WriteString(".fi\n.RE\n")
	return b.String()
}

// roffCharacters are those that mean something to roff, or would be printed as another.
var roffCharacters = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "~", `\(ti`, "^", `\(ha`)

// roff escapes text for roff.
func roff(text string) string {
	lines := strings.Split(roffCharacters.Replace(text), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
