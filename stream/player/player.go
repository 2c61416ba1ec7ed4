// Package player finds a media player on this computer and runs it on a URL:
// VLC, mpv, MPlayer, IINA, SMPlayer, MPC-HC, PotPlayer, or any command.
//
// It starts programs without a shell, so that no name or URL is ever
// interpreted, drains their output, and ends them with everything they started. It
// does not control playback.
//
//	cmd, err := player.Find("mpv")                    // or "myplayer --url={}"
//	err = cmd.Run(ctx, player.Media{
//		Items: []player.Item{{URL: url, Subtitles: []string{subtitleURL}}},
//	})
package player

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// ErrNotFound means that a player is not installed, or not where it is looked for.
var ErrNotFound = errors.New("player not found")

// placeholder stands for the URL in a command of the user's own.
const placeholder = "{}"

// endGrace is how long a player has to end by itself when it is asked to, for
// instance to save where it was.
const endGrace = 3 * time.Second

// Media is what to play.
type Media struct {
	Items []Item // played one after the other
	Title string // of the window, where the player takes one
}

// Item is one film or piece of music.
type Item struct {
	URL string

	// Subtitles are URLs or paths of subtitle files. A player that would show them
	// with other items, too, gets them only where there are none.
	Subtitles []string
}

func (m Media) urls() []string {
	urls := make([]string, len(m.Items))
	for i, item := range m.Items {
		urls[i] = item.URL
	}
	return urls
}

// Command is a player that was found, ready to run.
type Command struct {
	Name string   // as asked for
	Path string   // of the program
	Args []string // further arguments, before those for the media

	// Log gets the last of what a failed player wrote; nil: nobody does.
	Log *slog.Logger

	kind    kind
	pattern []string // arguments with placeholders, of a command of the user's own
	running atomic.Pointer[group]
}

// Find returns the player of that name (see Names), or the command that name
// holds, split into words as a shell would: its {} stands for the URL, which is
// otherwise appended. The environment's CAUSEWAY_PLAYER_PATH, if set, is where
// the program is, whatever the system says.
func Find(name string) (*Command, error) {
	if k, ok := kinds[strings.ToLower(name)]; ok {
		path, err := locate(k)
		if err != nil {
			return nil, fmt.Errorf("start player %q: %w; install it, or give the command with {} in place of the URL", name, err)
		}
		return &Command{Name: name, Path: path, kind: k}, nil
	}
	words, err := SplitArgs(name)
	if err != nil {
		return nil, fmt.Errorf("start player %q: %w", name, err)
	}
	if len(words) == 0 {
		return nil, fmt.Errorf("start player: empty command; name one of %s, or a command with {}", strings.Join(Names(), ", "))
	}
	path, err := exec.LookPath(words[0])
	if err != nil {
		return nil, fmt.Errorf("start player %q: %w (known by name: %s): %w", words[0], ErrNotFound, strings.Join(Names(), ", "), err)
	}
	// A known program by its path still knows its own flags.
	if k, ok := kinds[programName(words[0])]; ok && !slices.ContainsFunc(words[1:], hasPlaceholder) {
		return &Command{Name: name, Path: path, Args: words[1:], kind: k}, nil
	}
	return &Command{Name: name, Path: path, pattern: words[1:]}, nil
}

func hasPlaceholder(word string) bool { return strings.Contains(word, placeholder) }

// Argv returns the arguments that Run starts the program with, without its name.
func (c *Command) Argv(m Media) []string {
	args, urls := slices.Clone(c.Args), m.urls()
	if c.kind.args != nil {
		return append(args, c.kind.args(m)...)
	}
	used := false
	for _, word := range c.pattern {
		switch {
		case word == placeholder: // one argument for each URL
			args = append(args, urls...)
			used = true
		case hasPlaceholder(word):
			for _, u := range urls {
				args = append(args, strings.ReplaceAll(word, placeholder, u))
			}
			used = true
		default:
			args = append(args, word)
		}
	}
	if !used {
		args = append(args, urls...)
	}
	return args
}

// Run starts the player and waits until it ends. When ctx ends, the player and
// what it started are asked to end, and killed if they do not; Run then returns
// ctx's error. A player that fails gives an *exec.ExitError.
func (c *Command) Run(ctx context.Context, m Media) error {
	if len(m.Items) == 0 {
		return fmt.Errorf("start player %q: nothing to play", c.Name)
	}
	var output tail
	cmd := exec.CommandContext(ctx, c.Path, c.Argv(m)...)
	cmd.Stdout, cmd.Stderr = &output, &output
	group := newGroup(cmd)
	cmd.Cancel = group.end
	// Then the program itself is killed, and a pipe that a grandchild still holds
	// is let go.
	cmd.WaitDelay = endGrace
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start player %q: %w", c.Name, err)
	}
	if err := group.started(); err != nil && c.Log != nil {
		c.Log.Debug("player's children are not watched", "player", c.Name, "err", err)
	}
	c.running.Store(group)
	err := cmd.Wait()
	c.running.Store(nil)
	group.kill()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, exec.ErrWaitDelay):
		return nil // it ended well, its output was held open by a child
	case err != nil:
		if c.Log != nil {
			c.Log.Warn("player failed", "player", c.Name, "err", err, "output", output.String())
		}
		return fmt.Errorf("player %q: %w", c.Name, err)
	}
	return nil
}

// Kill ends the player, if it runs, and what it started at once. It is for a process
// that is about to end, and cannot wait for Run.
func (c *Command) Kill() {
	if group := c.running.Load(); group != nil {
		group.kill()
	}
}

// tailSize is how much of a player's output is kept: the last lines say why it
// failed, and players that run for hours write without end.
const tailSize = 4 << 10

// tail keeps the last of what is written to it. One goroutine of os/exec writes.
type tail struct{ buf []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.buf = append(t.buf, p[max(0, len(p)-tailSize):]...)
	if over := len(t.buf) - tailSize; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return string(bytes.ToValidUTF8(bytes.TrimSpace(t.buf), []byte("?"))) }

// pathOverride is the environment's word on where the player is.
const pathOverride = "CAUSEWAY_PLAYER_PATH"

// locate looks for a player's program: where the environment says, on PATH, then
// in the usual places of the system.
func locate(k kind) (string, error) {
	if path := os.Getenv(pathOverride); path != "" {
		found, err := exec.LookPath(path)
		if err != nil {
			return "", fmt.Errorf("%w where %s says: %w", ErrNotFound, pathOverride, err)
		}
		return found, nil
	}
	for _, program := range k.programs {
		if path, err := exec.LookPath(program); err == nil {
			return path, nil
		}
	}
	for _, path := range usualPlaces(k) {
		if found, err := exec.LookPath(path); err == nil {
			return found, nil
		}
	}
	return "", fmt.Errorf("%w on PATH or in the usual places", ErrNotFound)
}
