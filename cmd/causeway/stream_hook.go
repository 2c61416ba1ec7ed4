package main

import (
	"fmt"
	"os"
	"os/exec"

	"github.com/causeway-bt/causeway/stream/player"
)

// hook is a command of the user's, to be run without a shell.
type hook struct {
	path  string
	words []string
}

// parseHook returns nil for an empty line.
func parseHook(flag, line string) (*hook, error) {
	words, err := player.SplitArgs(line)
	if err != nil {
		return nil, usagef("%s: %v", flag, err)
	}
	if len(words) == 0 {
		return nil, nil
	}
	path, err := exec.LookPath(words[0])
	if err != nil {
		return nil, usagef("%s: %v; it must be a program, no shell is used", flag, err)
	}
	return &hook{path, words[1:]}, nil
}

// runHook runs a command and waits for it. What it writes goes to standard error.
// An interrupt does not end it: it may be putting things in order.
func (st *streaming) runHook(h *hook, event string) {
	file, path := "", "" // not known without the metadata
	if st.view.known() {
		chosen := st.view.files[st.choice.files[0]]
		file, path = chosen.Path(), chosen.disk
		if st.flags.playlist {
			path = contentPath(st.torrent)
		}
	}
	cmd := exec.Command(h.path, h.words...)
	cmd.Stdout, cmd.Stderr = st.app.stderr, st.app.stderr
	// No flag is called so: a causeway in the hook would take it for its own.
	cmd.Env = append(os.Environ(),
		"CAUSEWAY_HOOK_EVENT="+event,
		"CAUSEWAY_HOOK_NAME="+st.view.Name(),
		"CAUSEWAY_HOOK_FILE="+file,
		"CAUSEWAY_HOOK_PATH="+path,
		"CAUSEWAY_HOOK_URL="+st.url(),
		"CAUSEWAY_HOOK_INFOHASH="+st.view.InfoHash(),
	)
	if err := cmd.Run(); err != nil {
		st.app.warn(st.view.InfoHash(), fmt.Sprintf("the command of --on-%s failed: %v", event, err))
	}
}
