package web_test

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// TestTextFromOutside runs test/unit.test.mjs: subtitles, ranges, names and words, in Node.
func TestTextFromOutside(t *testing.T) {
	if testing.Short() {
		t.Skip("runs node: not with -short")
	}
	if _, err := exec.LookPath("node"); err != nil {
		t.Skipf("node is missing: %v", err)
	}
	if out, err := exec.Command("node", "--test", filepath.Join("test", "unit.test.mjs")).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
