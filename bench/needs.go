package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/causeway-bt/causeway/bench/path"
	"github.com/causeway-bt/causeway/bench/realpeer"
)

// section is one of the things that are measured.
type section struct {
	name string
	run  func(*bench, context.Context) error
}

// need returns nil if another program is there, or what is missing. make test-deps
// installs all of them.
type need func() error

// needs are the other programs that sections run. Those of the sections that are left out
// need Go and the source tree only.
var needs = map[string][]need{
	"transfer": {installed(realpeer.Libtorrent)},
	"link":     {installed(realpeer.Libtorrent)},
	"page":     {installed(realpeer.Chromium), installed(realpeer.WebTorrent)},
	"native":   {installed(realpeer.WebTorrent)}, // for its tracker
	"stream":   {installed(realpeer.Libtorrent), needPeerflix},
	"tracker":  {installed(realpeer.OpenTracker), needReferenceTracker},
	"utp":      {installed(realpeer.Libtorrent)},
	"paths":    {installed(realpeer.Chromium), installed(realpeer.Firefox), installed(realpeer.WebTorrent), path.Available},
	"soak":     {installed(realpeer.Chromium), installed(realpeer.WebTorrent), path.Available},
	"mount":    {installed(realpeer.Libtorrent), needBtfs, onPath("unshare", "util-linux"), onPath("ip", "iproute2")},
}

// privileged are the sections that make network namespaces, or mount: not to be run by all.
var privileged = []string{"mount", "paths"}

// onlyByName are the sections that take so long that a session of everything is without them.
var onlyByName = []string{"soak"}

func installed(p realpeer.Program) need {
	return func() error { return realpeer.Available(p) }
}

// needBtfs also asks for what it takes to mount.
func needBtfs() error {
	if err := onPath("btfs", "btfs")(); err != nil {
		return err
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		return fmt.Errorf("mounting needs /dev/fuse: %w", err)
	}
	if os.Getuid() != 0 {
		return errors.New("mounting, and a network namespace for it, need root")
	}
	return nil
}

// onPath asks for a program that comes in a package of Debian.
func onPath(program, debian string) need {
	return func() error {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%s is missing (Debian: %s): %w", program, debian, err)
		}
		return nil
	}
}

func needPeerflix() error {
	_, _, err := peerflixPaths()
	return err
}

// choose returns the sections of a list with commas that is given with -only, empty for
// all but those of onlyByName, once it is sure that each can run. Of all, those are skipped
// that need root where we are not.
func choose(only string, root bool) (chosen []section, skipped []string, err error) {
	names := strings.Split(strings.ReplaceAll(only, "web", "page,native,crowd"), ",")
	var known, without []string
	var errs []error
	for _, s := range sections {
		known = append(known, s.name)
		if only == "" && slices.Contains(onlyByName, s.name) {
			continue
		}
		if only == "" && !root && slices.Contains(privileged, s.name) {
			skipped = append(skipped, s.name)
			continue
		}
		missing := s.missing()
		if missing == "" {
			without = append(without, s.name)
		}
		if only != "" && !slices.Contains(names, s.name) {
			continue
		}
		chosen = append(chosen, s)
		if missing != "" {
			errs = append(errs, fmt.Errorf("%s: %s", s.name, missing))
		}
	}
	for _, name := range names {
		if only != "" && !slices.Contains(known, name) {
			return nil, nil, fmt.Errorf("there is no section %q; there are %s, and web for page, native and crowd", name, strings.Join(known, ", "))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, nil, fmt.Errorf("other programs are missing:\n%w\n`make test-deps` installs them; without, there is -only %s", err, strings.Join(without, ","))
	}
	return chosen, skipped, nil
}

// missing says which programs a section needs that are not there, or nothing.
func (s section) missing() string {
	var missing []string
	for _, n := range needs[s.name] {
		if err := n(); err != nil {
			missing = append(missing, err.Error())
		}
	}
	return strings.Join(missing, "; ")
}

// peerflixScript is where npm installs peerflix, beside its package.json.
var peerflixScript = filepath.Join("bench", "peerflix", "node_modules", "peerflix", "app.js")

// peerflixPaths returns what runs peerflix, the program that the targets of streaming come
// from.
func peerflixPaths() (node, script string, err error) {
	if node, err = exec.LookPath("node"); err != nil {
		return "", "", fmt.Errorf("node is missing (Debian: nodejs): %w", err)
	}
	if _, err = os.Stat(peerflixScript); err != nil {
		return "", "", fmt.Errorf("peerflix is missing (an npm package; run in the source tree): %w", err)
	}
	return node, peerflixScript, nil
}
