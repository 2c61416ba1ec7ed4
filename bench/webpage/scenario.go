// Package webpage runs what tests have a browser do on the page of package web.
package webpage

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/bench/proc"
	"github.com/causeway-bt/causeway/bench/realpeer"
)

// scenarioTimeout bounds what a page does in one scenario, and the start of its browser.
const scenarioTimeout = 150 * time.Second

// Need skips a test that needs the bundled page (which is there if built), what drives
// browsers from the folder scripts (web/test), and programs; with CAUSEWAY_REQUIRE_PEERS=1
// it fails then.
func Need(t testing.TB, built bool, scripts string, programs ...realpeer.Program) {
	t.Helper()
	realpeer.Need(t, append(programs, realpeer.WebTorrent)...)
	var why string
	if !built {
		why = "the page is not built (make web)"
	} else if _, err := os.Stat(filepath.Join(scripts, "node_modules", "puppeteer-core")); err != nil {
		why = "npm packages of web/test are missing (make test-deps)"
	} else if _, err := exec.LookPath("ffmpeg"); err != nil {
		why = "ffmpeg is missing"
	} else {
		return
	}
	if os.Getenv("CAUSEWAY_REQUIRE_PEERS") == "1" {
		t.Fatalf("CAUSEWAY_REQUIRE_PEERS=1, but %s", why)
	}
	t.Skip(why)
}

// Scenario is one of web/test/scenarios.mjs.
type Scenario struct {
	Name    string
	URL     string
	Browser realpeer.Program // default: Chromium
	Options map[string]any   // of the scenario and the browser
	Said    func(string)     // is told what the scenario says on its way; nil: nobody
	Command []string         // is put before the command line, as `ip netns exec NAME`
}

// Run runs it with the scripts of a folder, web/test, fills found with what it found, and
// returns that as JSON. home is a folder for the browser's files.
func (s Scenario) Run(scripts, home string, found any) (result []byte, err error) {
	o := map[string]any{"scenario": s.Name, "url": s.URL, "profile": filepath.Join(home, "profile"), "browser": "chromium"}
	browser := realpeer.Chromium
	if s.Browser == realpeer.Firefox {
		browser, o["browser"] = realpeer.Firefox, "firefox"
	}
	if o["executable"], err = exec.LookPath(string(browser)); err != nil {
		return nil, err
	}
	for k, v := range s.Options {
		o[k] = v
	}
	flags, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	p, err := proc.Start(proc.Spec{
		Path: "node", Args: []string{filepath.Join(scripts, "run.mjs"), string(flags)}, Command: s.Command, Env: []string{"HOME=" + home},
		OnLine: func(line []byte) {
			var word struct{ Say string }
			if json.Unmarshal(line, &word) != nil || word.Say == "" {
				result = append(result[:0], line...)
			} else if s.Said != nil {
				s.Said(word.Say)
			}
		},
	})
	if err != nil {
		return nil, err
	}
	defer p.Stop()
	select {
	case <-p.Done():
	case <-time.After(scenarioTimeout):
		return nil, fmt.Errorf("%s took longer than %s\n%s", s.Name, scenarioTimeout, p.Output())
	}
	if err := json.Unmarshal(result, found); err != nil {
		return nil, fmt.Errorf("%s found nothing: %w\n%s", s.Name, err, p.Output())
	}
	return result, nil
}
