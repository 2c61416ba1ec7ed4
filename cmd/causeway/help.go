package main

import (
	"io"
	"os"
	"strings"

	"github.com/rivo/uniseg"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"
)

// Help is as wide as the terminal, in columns, but for what is hard to read.
const (
	narrowestHelp = 40
	usualHelp     = 80 // of a file or pipe
	widestHelp    = 100

	// mostNames is the widest column of flags' names; what is wider gets a line of its own.
	mostNames = 30
)

// environmentHelp ends what is told about flags.
const environmentHelp = "Each flag can also be set in the environment: --down-limit is CAUSEWAY_DOWN_LIMIT."

// helpWidth is the width of help that is written to out.
func helpWidth(out io.Writer) int {
	file, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return usualHelp
	}
	width, _, err := term.GetSize(int(file.Fd()))
	if err != nil || width <= 0 { // some terminals do not know
		return usualHelp
	}
	return min(max(width, narrowestHelp), widestHelp)
}

// useOwnHelp makes a command and those below it print help as helpText has it.
func useOwnHelp(root *cobra.Command) {
	show := func(cmd *cobra.Command) error {
		_, err := io.WriteString(cmd.OutOrStdout(), helpText(cmd, helpWidth(cmd.OutOrStdout())))
		return err
	}
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { _ = show(cmd) }) // nobody is there to be told
	root.SetUsageFunc(show)
}

// helpText is what --help prints of a command, for lines of that width.
func helpText(cmd *cobra.Command, width int) string {
	var b strings.Builder
	section := func(title, body string) {
		if body != "" {
			b.WriteString("\n" + title + ":\n" + body)
		}
	}
	b.WriteString(wrapText(description(cmd), width))
	section("Usage", usageLines(cmd, width))
	if cmd.Example != "" {
		section("Examples", cmd.Example+"\n")
	}
	section("Commands", commandTable(cmd, width))
	sections := flagSections(cmd)
	column := nameColumn(sections, width)
	for _, s := range sections {
		var table strings.Builder
		for _, flag := range s.flags {
			placeholder, text := flagText(flag)
			entry(&table, flagNames(flag, placeholder), text, column, width)
		}
		section(s.title, table.String())
	}
	b.WriteString("\n" + wrapText(environmentHelp, width))
	if cmd.HasAvailableSubCommands() {
		b.WriteString(wrapText("`"+cmd.CommandPath()+" COMMAND --help` tells about a command.", width))
	}
	return b.String()
}

// description is what a command does, at length.
func description(cmd *cobra.Command) string {
	if cmd.Long != "" {
		return cmd.Long
	}
	return cmd.Short + "."
}

// usageLines are the ways to call a command.
func usageLines(cmd *cobra.Command, width int) string {
	var b strings.Builder
	for _, way := range usageWays(cmd) {
		for _, line := range wrap(way, width-2) {
			b.WriteString("  " + line + "\n")
		}
	}
	return b.String()
}

func usageWays(cmd *cobra.Command) (ways []string) {
	if cmd.Runnable() && cmd.Name() != "completion" { // which alone prints help
		ways = append(ways, cmd.UseLine())
	}
	if cmd.HasAvailableSubCommands() {
		ways = append(ways, cmd.CommandPath()+" COMMAND [flags]")
	}
	return ways
}

// commandTable lists the commands below a command.
func commandTable(cmd *cobra.Command, width int) string {
	shown, longest := availableCommands(cmd), 0
	for _, sub := range shown {
		longest = max(longest, len(sub.Name()))
	}
	var b strings.Builder
	for _, sub := range shown {
		entry(&b, "  "+sub.Name(), sub.Short, longest+4, width)
	}
	return b.String()
}

// availableCommands are those below a command that are shown.
func availableCommands(cmd *cobra.Command) (shown []*cobra.Command) {
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() || sub.Name() == "help" {
			shown = append(shown, sub)
		}
	}
	return shown
}

// flagNames is the left column of a flag.
func flagNames(flag *pflag.Flag, placeholder string) string {
	names := "      --" + flag.Name
	if flag.Shorthand != "" {
		names = "  -" + flag.Shorthand + ", --" + flag.Name
	}
	if placeholder != "" {
		names += " " + placeholder
	}
	return names
}

// nameColumn is where the texts of flags begin: the same for all of a command.
func nameColumn(sections []flagSection, width int) int {
	const beside = 60 // columns, below which texts are under the names
	column := 0
	for _, s := range sections {
		if width < beside {
			break
		}
		for _, flag := range s.flags {
			placeholder, _ := flagText(flag)
			if names := len(flagNames(flag, placeholder)) + 2; names <= mostNames {
				column = max(column, names)
			}
		}
	}
	return max(column, 8)
}

// entry writes a row of a table with two columns, the second of which begins at column.
func entry(b *strings.Builder, names, text string, column, width int) {
	b.WriteString(names)
	at := len(names)
	if at > column-2 {
		b.WriteString("\n")
		at = 0
	}
	for _, line := range wrap(text, width-column) {
		b.WriteString(strings.Repeat(" ", column-at) + line + "\n")
		at = 0
	}
}

// wrapText wraps paragraphs. Blank lines are between them; what is indented is left as it is.
func wrapText(text string, width int) string {
	var b strings.Builder
	for i, paragraph := range paragraphs(text) {
		if i > 0 {
			b.WriteString("\n")
		}
		if paragraph.literal {
			b.WriteString(paragraph.text + "\n")
			continue
		}
		for _, line := range wrap(paragraph.text, width) {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

// paragraph is a part of a description.
type paragraph struct {
	text    string
	literal bool // lines to be typed, which are not wrapped
}

func paragraphs(text string) (all []paragraph) {
	for part := range strings.SplitSeq(strings.Trim(text, "\n"), "\n\n") {
		part = strings.Trim(part, "\n")
		if part == "" {
			continue
		}
		all = append(all, paragraph{strings.ReplaceAll(part, "\t", "  "), part[0] == ' ' || part[0] == '\t'})
	}
	return all
}

// wrap breaks text into lines of at most width columns, where it has blanks.
func wrap(text string, width int) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && uniseg.StringWidth(line)+1+uniseg.StringWidth(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
