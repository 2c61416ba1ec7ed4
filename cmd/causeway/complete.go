package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/causeway-bt/causeway/client/meta"
)

// What a flag takes is told to the shells by its placeholder, so that help and completion
// cannot differ: `FOLDER` completes folders. Those that take one of a few values have them
// from oneOf.

// valuesAnnotation is where a flag keeps the values that it takes.
const valuesAnnotation = "causeway_values"

// oneOf notes the values that a flag takes, for completion.
func oneOf(flags *pflag.FlagSet, name string, values ...string) {
	annotate(flags.Lookup(name), valuesAnnotation, values...)
}

// alternatives is "a, b or c".
func alternatives(values []string) string {
	last := len(values) - 1
	if last < 1 {
		return strings.Join(values, "")
	}
	return strings.Join(values[:last], ", ") + " or " + values[last]
}

// byPlaceholder completes the values of flags. What is not in it is not completed:
// no file is a NUMBER or a URL.
var byPlaceholder = map[string]cobra.CompletionFunc{
	"FOLDER":    completeFolder,
	"FILE":      completeAnyFile,
	"COMMAND":   completeAnyFile,
	"PLAYER":    completeAnyFile, // besides the players that are known
	"ARGUMENTS": completeAnyFile,
	"ADDRESS":   completeAddress,
	"HOST":      completeAddress,
	"LIST":      completeTorrentFile,
	"INDEX":     completeTorrentFile,
}

// completeFlags has the flags of a command and of those below it completed.
func completeFlags(cmd *cobra.Command) {
	for _, flags := range []*pflag.FlagSet{cmd.PersistentFlags(), cmd.LocalNonPersistentFlags()} {
		flags.VisitAll(func(flag *pflag.Flag) {
			if flag.NoOptDefVal != "" { // it takes no value
				return
			}
			placeholder, _ := pflag.UnquoteUsage(flag)
			complete := byPlaceholder[placeholder]
			if complete == nil {
				complete = cobra.NoFileCompletions
			}
			if values := flag.Annotations[valuesAnnotation]; values != nil {
				complete = withValues(values, complete)
			}
			if err := cmd.RegisterFlagCompletionFunc(flag.Name, complete); err != nil {
				panic(fmt.Errorf("completing --%s: %w", flag.Name, err)) // it is registered twice
			}
		})
	}
	for _, sub := range cmd.Commands() {
		if sub.ValidArgsFunction == nil && len(sub.ValidArgs) == 0 && !sub.HasSubCommands() {
			sub.ValidArgsFunction = cobra.NoFileCompletions
		}
		completeFlags(sub)
	}
}

// withValues completes values, and what rest does besides.
func withValues(values []string, rest cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
		others, directive := rest(cmd, args, toComplete)
		var fitting []cobra.Completion
		for _, value := range values {
			if strings.HasPrefix(value, toComplete) {
				fitting = append(fitting, value)
			}
		}
		return append(fitting, others...), directive | cobra.ShellCompDirectiveKeepOrder
	}
}

func completeFolder(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}

func completeAnyFile(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveDefault
}

// completeAddress completes the addresses of this machine.
func completeAddress(_ *cobra.Command, _ []string, toComplete string) (found []cobra.Completion, _ cobra.ShellCompDirective) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	for _, address := range addresses {
		if network, ok := address.(*net.IPNet); ok && strings.HasPrefix(network.IP.String(), toComplete) {
			found = append(found, network.IP.String())
		}
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}

// completeTorrentFile completes the index of a file in the torrent that is named on the
// command line, if that is a .torrent file. After a comma, another follows.
func completeTorrentFile(cmd *cobra.Command, args []string, toComplete string) (found []cobra.Completion, _ cobra.ShellCompDirective) {
	const directive = cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveKeepOrder
	torrent := namedTorrent(cmd, args)
	if torrent == nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	before := toComplete[:strings.LastIndexByte(toComplete, ',')+1]
	for i := range torrent.Info.Files {
		file := &torrent.Info.Files[i]
		if value := fmt.Sprintf("%s%d", before, i); !file.Pad && strings.HasPrefix(value, toComplete) {
			found = append(found, cobra.CompletionWithDesc(value, strings.Map(printable, file.DisplayPath())))
		}
	}
	return found, directive
}

// namedTorrent reads the first .torrent file among arguments, if there is one. A magnet
// link or URL is not fetched.
func namedTorrent(cmd *cobra.Command, args []string) *meta.Torrent {
	for _, arg := range args {
		status, err := os.Stat(arg)
		if err != nil || !status.Mode().IsRegular() || !isTorrentName(arg) {
			continue
		}
		if src, err := meta.Load(cmd.Context(), arg, nil); err == nil {
			return src.Torrent
		}
	}
	return nil
}

// torrentSuffix is that of .torrent files.
const torrentSuffix = ".torrent"

// completeSource completes .torrent files and the folders that they may be in, of which
// at most so many can be named (any number if most < 0).
func completeSource(most int) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if most >= 0 && len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return []cobra.Completion{torrentSuffix[1:]}, cobra.ShellCompDirectiveFilterFileExt
	}
}

// completePath completes any file or folder, of which at most so many can be named (any
// number if most < 0).
func completePath(most int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if most >= 0 && len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return completeAnyFile(cmd, args, toComplete)
	}
}

// completeCommandOrSource completes the arguments of the program itself. Where its first
// one may become a command, the shells would not look for files, so they are listed here.
func completeCommandOrSource(cmd *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
	isCommand := slices.ContainsFunc(availableCommands(cmd), func(sub *cobra.Command) bool {
		return strings.HasPrefix(sub.Name(), toComplete)
	})
	if len(args) > 0 || !isCommand {
		return completeSource(-1)(cmd, args, toComplete)
	}
	entries, err := os.ReadDir(".")
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var found []cobra.Completion
	for _, entry := range entries {
		name := entry.Name()
		switch {
		case !strings.HasPrefix(name, toComplete) || strings.ContainsAny(name, "\n\t"): // which would be another completion
		case entry.IsDir() && toComplete != "": // all of them would hide the commands
			found = append(found, name+string(filepath.Separator))
		case !entry.IsDir() && isTorrentName(name):
			found = append(found, name)
		}
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}
