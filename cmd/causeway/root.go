package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/causeway-bt/causeway/client/meta"
)

// The exit codes that scripts rely on.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130 // 128 and the number of SIGINT, as shells have it
)

// errInterrupted is why a command's context ends when the user stops it.
var errInterrupted = errors.New("interrupted")

// toldError has been reported already, when it happened.
type toldError struct{ error }

func (e toldError) Unwrap() error { return e.error }

// untold is what remains of err without what has been reported and an interrupt, or nil.
func untold(err error) error {
	if told := new(toldError); !errors.As(err, told) && !errors.Is(err, errInterrupted) {
		return err
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return nil
	}
	var rest []error
	for _, part := range joined.Unwrap() {
		rest = append(rest, untold(part))
	}
	return errors.Join(rest...)
}

// app is what all commands share.
type app struct {
	in     io.Reader
	stdout io.Writer
	stderr io.Writer
	printer

	// cleanUp, if set, does what must be done even if a second interrupt ends the
	// process at once. It may run while everything else goes on.
	cleanUp atomic.Pointer[func()]

	// reloads is set while a command takes SIGHUP as a wish to read its files again.
	reloads atomic.Bool
}

// run is the program without the process around it. It returns the exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{in: stdin, stdout: stdout, stderr: stderr}
	a.printer = newPrinter(stdout, stderr)
	defer a.log.flush()
	ctx, stop := a.interruptible()
	defer stop()
	root := a.rootCommand()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	if errors.Is(err, context.Canceled) && errors.Is(context.Cause(ctx), errInterrupted) {
		err = errInterrupted
	}
	rest := untold(err)
	if rest != nil {
		a.json = a.json || jsonWanted(args, os.LookupEnv)
		a.fail("", rest)
	}
	if rest == nil && errors.Is(err, errInterrupted) {
		return exitInterrupted
	}
	var usage *usageError
	var source *meta.UsageError
	if errors.As(err, &usage) || errors.As(err, &source) {
		return exitUsage
	}
	return exitFailed
}

// interruptible returns a context that ends with errInterrupted on the first
// interrupt; the second ends the process at once.
func (a *app) interruptible() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		signal.Notify(signals, syscall.SIGHUP)
	}
	go func() {
		a.awaitInterrupt(signals)
		cancel(errInterrupted)
		a.awaitInterrupt(signals)
		if cleanUp := a.cleanUp.Load(); cleanUp != nil {
			(*cleanUp)()
		}
		os.Exit(exitInterrupted)
	}()
	return ctx, func() { signal.Stop(signals) }
}

func (a *app) awaitInterrupt(signals <-chan os.Signal) {
	for s := range signals {
		if s != syscall.SIGHUP || !a.reloads.Load() {
			return
		}
	}
}

func (a *app) rootCommand() *cobra.Command {
	// With sources and no command, the root is the download command.
	root := a.downloadCommand()
	root.Use = "causeway SOURCE..."
	root.Short = "A BitTorrent client"
	root.Long = `Causeway downloads and seeds torrents.

A SOURCE is a magnet link, an infohash, a path or an http, https or file URL of a
.torrent file (gzipped or not) or of a text with a magnet link, or - for one of these
on standard input. Sources alone are downloaded, as with "causeway download".`
	root.Example = `  causeway 'magnet:?xt=urn:btih:...'
  causeway create Holiday --tracker udp://tracker.example:6969`
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SuggestionsMinimumDistance = 2
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		return flagsFromEnvironment(cmd.Flags(), os.LookupEnv)
	}
	root.SetFlagErrorFunc(flagError)
	download := root.RunE
	var version bool
	group(root.Flags(), groupOutput, func() {
		root.Flags().BoolVar(&version, "version", false, "print the version")
	})
	root.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case version:
			a.printVersion()
			return nil
		case len(args) == 0:
			return cmd.Help()
		}
		if err := commandMeant(cmd, args[0]); err != nil {
			return err
		}
		if err := checkOrder(cmd, args); err != nil {
			return err
		}
		return download(cmd, args)
	}
	root.ValidArgsFunction = completeCommandOrSource
	root.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 && cmd.Flags().NFlag() > 0 && !version { // those of the environment come later
			return usagef("`%s` needs a magnet link, .torrent file, URL or infohash; see `%s --help`", cmd.CommandPath(), cmd.CommandPath())
		}
		return nil
	}
	flags := root.PersistentFlags()
	group(flags, groupOutput, func() {
		flags.BoolVar(&a.json, "json", false, "print one JSON object per line on standard output")
		flags.BoolVarP(&a.quiet, "quiet", "q", false, "print results and errors only")
		flags.BoolVarP(&a.verbose, "verbose", "v", false, "print what the engine does, for finding out what is wrong")
	})
	root.AddCommand(
		a.createCommand(), a.doctorCommand(), a.downloadNamedCommand(), a.infoCommand(), a.mountCommand(), a.seedCommand(), a.shareCommand(),
		a.streamCommand(), a.trackerCommand(), a.verifyCommand(), a.versionCommand(), a.manCommand(),
	)
	strict(root)
	groupCobra(root)
	completeFlags(root)
	useOwnHelp(root)
	return root
}

// strict makes the commands that cobra adds refuse arguments that mean nothing; they
// would print help, or end with another exit code.
func strict(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "help":
			cmd.Use, cmd.Short = "help [COMMAND]", "Print what a command does, and its flags"
			cmd.Long = ""
			cmd.Example = "  causeway help seed"
			cmd.Args = func(_ *cobra.Command, args []string) error {
				if found, rest, err := root.Find(args); err != nil || len(rest) > 0 || found == root && len(args) > 0 {
					hint := didYouMean(root, args[0])
					if hint == "" || len(args) > 1 {
						hint = fmt.Sprintf("; see `%s --help`", root.Name())
					}
					return usagef("there is no command %q%s", strings.Join(args, " "), hint)
				}
				return nil
			}
		case "completion":
			cmd.Short = "Print a script for a shell to complete commands"
			cmd.Long = cmd.Short + ".\n\n`causeway completion SHELL --help` says where it belongs."
			cmd.Example = "  source <(causeway completion bash)"
			cmd.Args = arguments(0, 0, "the name of a shell")
			cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
			for _, shell := range cmd.Commands() {
				shell.Args = arguments(0, 0, "no argument")
				shell.Short = "Print the script for " + shell.Name()
				shell.Long = strings.ReplaceAll(shell.Long, "#### ", "")
			}
		}
	}
}
