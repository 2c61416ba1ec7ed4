package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// environmentPrefix starts the names of the variables that flags fall back to.
const environmentPrefix = "CAUSEWAY_"

// flagsFromEnvironment sets the flags that are not on the command line from their
// variables. A flag that can be repeated takes several values, with spaces
// between them.
func flagsFromEnvironment(flags *pflag.FlagSet, lookup func(string) (string, bool)) error {
	var errs []error
	flags.VisitAll(func(flag *pflag.Flag) {
		name := environmentPrefix + strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))
		text, ok := lookup(name)
		if flag.Changed || flag.Name == "help" || flag.Name == "version" || !ok || text == "" {
			return
		}
		values := []string{text}
		if _, repeated := flag.Value.(pflag.SliceValue); repeated {
			values = strings.Fields(text)
		}
		for _, value := range values {
			if err := flags.Set(flag.Name, value); err != nil {
				errs = append(errs, fmt.Errorf("in the environment variable %s: %s", name, valueError(err)))
			}
		}
	})
	if err := errors.Join(errs...); err != nil {
		return usagef("%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return nil
}

// listFlag is a list with commas, to which each use of the flag adds. In the environment it
// is one value: file names have spaces.
type listFlag string

func (l *listFlag) String() string { return string(*l) }

// Type tells by its name, to cobra, that the flag can be repeated.
func (l *listFlag) Type() string { return "listArray" }

func (l *listFlag) Set(text string) error {
	if *l != "" {
		text = "," + text
	}
	*l += listFlag(text)
	return nil
}
