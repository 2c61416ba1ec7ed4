package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flagGroup is the heading under which --help and the man pages show a flag.
type flagGroup string

const (
	groupContent  flagGroup = "What to download"
	groupStorage  flagGroup = "Where data is kept"
	groupTorrent  flagGroup = "What the torrent says"
	groupPlay     flagGroup = "Playing"
	groupShare    flagGroup = "The link"
	groupReceive  flagGroup = "Receiving"
	groupMount    flagGroup = "Mounting"
	groupHTTP     flagGroup = "HTTP"
	groupPeers    flagGroup = "Peers"
	groupBrowsers flagGroup = "Browsers"
	groupTracker  flagGroup = "Tracker"
	groupTLS      flagGroup = "TLS"
	groupTURN     flagGroup = "STUN and TURN"
	groupCluster  flagGroup = "Cluster"
	groupLimits   flagGroup = "Limits"
	groupOutput   flagGroup = "Output"
)

// flagGroups is the order in which they are shown.
var flagGroups = []flagGroup{
	groupContent, groupStorage, groupTorrent, groupPlay, groupShare, groupReceive, groupMount, groupHTTP, groupPeers, groupBrowsers, groupTracker, groupTLS, groupTURN, groupCluster, groupLimits, groupOutput,
}

// groupAnnotation is where a flag keeps its group.
const groupAnnotation = "causeway_group"

// group puts the flags that register adds to flags into a group. Every flag has one:
// it is registered inside of a call of group.
func group(flags *pflag.FlagSet, name flagGroup, register func()) {
	before := make(map[string]bool)
	flags.VisitAll(func(flag *pflag.Flag) { before[flag.Name] = true })
	register()
	flags.VisitAll(func(flag *pflag.Flag) {
		if !before[flag.Name] {
			annotate(flag, groupAnnotation, string(name))
		}
	})
}

// annotate notes something about a flag, for help, man pages and completion.
func annotate(flag *pflag.Flag, key string, values ...string) {
	if flag.Annotations == nil {
		flag.Annotations = make(map[string][]string)
	}
	flag.Annotations[key] = values
}

// groupOf is the group of a flag, or "" if it was registered outside of all.
func groupOf(flag *pflag.Flag) flagGroup {
	if values := flag.Annotations[groupAnnotation]; len(values) == 1 {
		return flagGroup(values[0])
	}
	return ""
}

// groupCobra puts the flags that cobra adds by itself into a group, and keeps all flags in
// the order in which they are registered.
func groupCobra(cmd *cobra.Command) {
	cmd.InitDefaultHelpFlag()
	for _, name := range []string{"help", "no-descriptions"} {
		if flag := cmd.Flags().Lookup(name); flag != nil {
			annotate(flag, groupAnnotation, string(groupOutput))
		}
	}
	cmd.Flags().Lookup("help").Usage = "print this help"
	cmd.Flags().SortFlags = false
	cmd.PersistentFlags().SortFlags = false
	for _, sub := range cmd.Commands() {
		groupCobra(sub)
	}
}

// flagSection is what a command shows of one group.
type flagSection struct {
	title string
	flags []*pflag.Flag // in the order in which they were registered
}

// flagSections are the flags of a command that are shown, by group.
func flagSections(cmd *cobra.Command) []flagSection {
	cmd.InheritedFlags() // adds those of all commands to its own
	byGroup := make(map[flagGroup][]*pflag.Flag)
	cmd.Flags().VisitAll(func(flag *pflag.Flag) {
		if name := groupOf(flag); !flag.Hidden && flag.Deprecated == "" {
			byGroup[name] = append(byGroup[name], flag)
		}
	})
	var sections []flagSection
	for _, name := range slices.Concat(flagGroups, []flagGroup{""}) {
		if flags := byGroup[name]; len(flags) > 0 {
			sections = append(sections, flagSection{string(name), flags})
		}
	}
	return sections
}

// flagText is how a flag is written, and what it does, with its default. Where the text
// tells the default in words, it is not told again.
func flagText(flag *pflag.Flag) (placeholder, text string) {
	placeholder, text = pflag.UnquoteUsage(flag)
	zero := slices.Contains([]string{"", "0", "false", "none", "[]"}, flag.DefValue)
	if !zero && !strings.Contains(text, "default") {
		text += " (default " + flag.DefValue + ")"
	}
	return placeholder, text
}
