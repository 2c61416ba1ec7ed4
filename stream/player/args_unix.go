//go:build !windows

package player

import (
	"fmt"

	"github.com/mattn/go-shellwords"
)

// SplitArgs splits a line into words as the system's shell quotes them, but
// expands nothing and runs nothing.
func SplitArgs(line string) ([]string, error) {
	parser := shellwords.NewParser()
	parser.ParseEnv, parser.ParseBacktick = false, false
	words, err := parser.Parse(line)
	if err != nil {
		return nil, fmt.Errorf("split arguments %q: %w; check the quotes", line, err)
	}
	if parser.Position >= 0 {
		return nil, fmt.Errorf("split arguments %q: %q means something only to a shell; quote it", line, line[parser.Position])
	}
	return words, nil
}
