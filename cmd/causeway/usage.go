package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// usageError is a command line that cannot be obeyed.
type usageError struct{ message string }

func (e *usageError) Error() string { return e.message }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

// arguments checks how many arguments there are; most < 0 is any number.
func arguments(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || most >= 0 && len(args) > most {
			return usagef("`%s` needs %s; see `%s --help`", cmd.CommandPath(), what, cmd.CommandPath())
		}
		for _, arg := range args {
			if strings.TrimSpace(arg) == "" {
				return usagef("an argument of `%s` is empty; it needs %s", cmd.CommandPath(), what)
			}
		}
		return nil
	}
}

// mostCommand is how many characters a word may have to be a mistyped command. Infohashes
// have 32 at the least.
const mostCommand = 24

// laterCommands are those of other versions: what is called so is a command to its users.
var laterCommands = []string{"bridge", "serve"}

// commandMeant is an error if the first argument of the program can only be a command that
// does not exist: it is a plain word, and no file. A folder, which is no source either, may
// be there by chance.
func commandMeant(root *cobra.Command, word string) error {
	if !plainWord(word) {
		return nil
	}
	status, err := os.Stat(word)
	switch {
	case err == nil && !status.IsDir():
		return nil
	case err == nil && didYouMean(root, word) == "" && !slices.Contains(laterCommands, word):
		return nil // as a source, it is refused with what folders are for
	case err == nil:
		return usagef("there is no command %q%s; and the folder of that name is no torrent (`%s seed %s` shares it)",
			word, didYouMean(root, word), root.Name(), word)
	}
	hint := didYouMean(root, word)
	if hint == "" {
		hint = fmt.Sprintf("; see `%s --help`", root.Name())
	}
	return usagef("there is no command %q, and no file of that name%s", word, hint)
}

// plainWord tells whether a word looks like a command, and not like a path, URL or infohash.
func plainWord(word string) bool {
	strange := func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '-' && r != '_' }
	return word != "" && len(word) <= mostCommand && word[0] != '-' && !strings.ContainsFunc(word, strange)
}

// didYouMean names the commands that a mistyped one may have been.
func didYouMean(root *cobra.Command, word string) string {
	var commands []string
	for _, name := range root.SuggestionsFor(word) {
		commands = append(commands, "`"+root.Name()+" "+name+"`")
	}
	if len(commands) == 0 {
		return ""
	}
	return "; did you mean " + alternatives(commands) + "?"
}

// checkOrder refuses a command behind a source: it would be looked for as a file.
func checkOrder(root *cobra.Command, args []string) error {
	for _, arg := range args[1:] {
		if _, err := os.Stat(arg); err == nil {
			continue
		}
		for _, sub := range root.Commands() {
			if sub.Name() == arg && sub.IsAvailableCommand() {
				return usagef("the command goes first: `%s %s %s`", root.Name(), arg, args[0])
			}
		}
	}
	return nil
}

// flagError says what is wrong with the flags of a command line, in words of its own: the
// library's tell of Go's functions.
func flagError(cmd *cobra.Command, err error) error {
	root := cmd.Root()
	// The flags of a mistyped command are unknown, too.
	if args := cmd.Flags().Args(); cmd == root && len(args) > 0 {
		if meant := commandMeant(root, args[0]); meant != nil {
			return meant
		}
	}
	see := fmt.Sprintf("see `%s --help`", cmd.CommandPath())
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		return usagef("%s", unknownFlag(cmd, unknown))
	}
	var missing *pflag.ValueRequiredError
	if errors.As(err, &missing) {
		placeholder, _ := pflag.UnquoteUsage(missing.GetFlag())
		return usagef("--%[1]s needs a value: --%[1]s %[2]s; %[3]s", missing.GetFlag().Name, placeholder, see)
	}
	var syntax *pflag.InvalidSyntaxError
	if errors.As(err, &syntax) {
		return usagef("%q is no flag; %s", syntax.GetSpecifiedFlag(), see)
	}
	return usagef("%s; %s", valueError(err), see)
}

// valueError says what is wrong with the value of a flag.
func valueError(err error) string {
	var invalid *pflag.InvalidValueError
	if !errors.As(err, &invalid) {
		return err.Error()
	}
	flag, value := invalid.GetFlag(), invalid.GetValue()
	switch flag.Value.Type() {
	case "int":
		if errors.Is(err, strconv.ErrRange) {
			return fmt.Sprintf("--%s cannot be %s", flag.Name, value)
		}
		return fmt.Sprintf("--%s needs a whole number, not %q", flag.Name, value)
	case "bool":
		return fmt.Sprintf("--%s is true or false, not %q", flag.Name, value)
	}
	return fmt.Sprintf("--%s: %v", flag.Name, invalid.Unwrap())
}

// unknownFlag says that a flag does not exist, and which there are instead: one of another
// command, or a similar one.
func unknownFlag(cmd *cobra.Command, err *pflag.NotExistError) string {
	name := err.GetSpecifiedName()
	written := "--" + name
	if err.GetSpecifiedShortnames() != "" {
		written = "-" + name
	}
	text := fmt.Sprintf("`%s` has no flag %s", cmd.CommandPath(), written)
	var others []string
	for _, sub := range cmd.Root().Commands() {
		flag := sub.Flags().Lookup(name)
		if len(name) == 1 {
			flag = sub.Flags().ShorthandLookup(name)
		}
		if flag != nil && sub.IsAvailableCommand() {
			others = append(others, "`"+sub.CommandPath()+"`")
		}
	}
	if len(others) > 0 {
		return text + "; it is one of " + alternatives(others)
	}
	var similar []string
	cmd.Flags().VisitAll(func(flag *pflag.Flag) {
		if !flag.Hidden && len(name) > 1 && alike(name, flag.Name) {
			similar = append(similar, "--"+flag.Name)
		}
	})
	if len(similar) > 0 {
		return text + "; did you mean " + alternatives(similar) + "?"
	}
	return text + fmt.Sprintf("; see `%s --help`", cmd.CommandPath())
}

// alike tells whether one name may be a slip of the other: one begins with the other, they
// have the same parts, or differ by two characters at most (by Levenshtein's distance).
func alike(a, b string) bool {
	const most, long = 2, 4 // in short names, two characters are too many
	parts := func(name string) string {
		split := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return r == '-' || r == '_' })
		slices.Sort(split)
		return strings.Join(split, "")
	}
	if strings.HasPrefix(b, a) || parts(a) == parts(b) {
		return true
	}
	return min(len(a), len(b)) >= long && distance(a, b) <= most
}

// distance is how many characters must be put in, taken out or changed to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := before
			if a[i] != b[j] {
				change++
			}
			before = row[j+1]
			row[j+1] = min(change, row[j]+1, before+1)
		}
	}
	return row[len(b)]
}

// jsonWanted tells whether errors are to be told as JSON, though the command line may have
// been wrong before --json was read.
func jsonWanted(args []string, lookup func(string) (string, bool)) bool {
	wanted := false
	if text, ok := lookup(environmentPrefix + "JSON"); ok {
		wanted, _ = strconv.ParseBool(text)
	}
	for _, arg := range args {
		name, value, given := strings.Cut(arg, "=")
		switch {
		case arg == "--":
			return wanted
		case name != "--json":
		case given:
			wanted, _ = strconv.ParseBool(value)
		default:
			wanted = true
		}
	}
	return wanted
}

// checkData refuses what a torrent cannot be made of: no file or folder is there.
func checkData(path string) error {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return usagef("there is no such file or folder: %s", path)
	}
	return nil
}

// isTorrentName tells whether a path is one of a .torrent file by its name.
func isTorrentName(path string) bool { return strings.EqualFold(filepath.Ext(path), torrentSuffix) }
