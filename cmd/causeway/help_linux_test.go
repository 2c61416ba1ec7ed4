package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// terminal returns both ends of a terminal of that many columns.
func terminal(t *testing.T, columns uint16) (screen, program *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminal can be made here: %v", err)
	}
	t.Cleanup(func() { screen.Close() })
	fd := int(screen.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns}); err != nil {
		t.Fatal(err)
	}
	if program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return screen, program
}

func TestHelpIsAsWideAsTheTerminal(t *testing.T) {
	for columns, want := range map[uint16]int{20: narrowestHelp, 60: 60, 80: 80, 500: widestHelp, 0: usualHelp} {
		screen, program := terminal(t, columns)
		cmd := command(t, t.TempDir(), "download", "--help")
		cmd.Stdout = program
		text := make(chan string)
		go func() {
			b, _ := io.ReadAll(screen) // ends with an error, as the other side is closed
			text <- string(b)
		}()
		err := cmd.Run()
		program.Close()
		if err != nil {
			t.Fatal(err)
		}
		longest := 0
		for line := range strings.Lines(<-text) {
			if line = strings.TrimRight(line, "\r\n"); !strings.Contains(line, "magnet:") { // an example
				longest = max(longest, len(line))
			}
		}
		if longest > want || longest < want-8 {
			t.Errorf("with %d columns, the longest line has %d, want about %d", columns, longest, want)
		}
	}
}
