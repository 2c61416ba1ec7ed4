package player

import (
	"fmt"
	"strings"

	"golang.org/x/sys/windows"
)

// SplitArgs splits a line into words as Windows programs do, in which a backslash
// is a part of a path.
func SplitArgs(line string) ([]string, error) {
	if strings.TrimSpace(line) == "" {
		return nil, nil
	}
	// The first word follows rules of its own, those of a program's name.
	words, err := windows.DecomposeCommandLine("x " + line)
	if err != nil {
		return nil, fmt.Errorf("split arguments %q: %w", line, err)
	}
	return words[1:], nil
}
