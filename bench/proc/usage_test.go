package proc

import (
	"context"
	"os"
	"slices"
	"testing"
	"time"
)

// A process of a program's own is found by a word of its command line, however deep below, and
// stands still while it is frozen.
func TestDescendantIsFrozen(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("there is no /proc: ", err)
	}
	p, err := Start(Spec{Path: "sh", Args: []string{"-c", "(sh -c 'while sleep 0.01; do echo tick; done' --type=deep; :) & wait"}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	find := func() []int {
		found, err := Descendants(p.PID(), "--type=deep")
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	until(t, ctx, "one descendant with the word", func() bool { return len(find()) == 1 })
	if found, err := Descendants(find()[0], "--type=deep"); err != nil || len(found) != 0 {
		t.Errorf("a process is below itself: %v, %v", found, err)
	}
	deep := find()[0]
	state := func() string {
		f, err := statFields(deep)
		if err != nil {
			t.Fatal(err)
		}
		return f[0]
	}
	if err := Freeze(deep); err != nil {
		t.Fatal(err)
	}
	until(t, ctx, "the process to stop", func() bool { return state() == "T" })
	if err := Thaw(deep); err != nil {
		t.Fatal(err)
	}
	until(t, ctx, "the process to run on", func() bool { return slices.Contains([]string{"R", "S"}, state()) })
}

// until waits until a condition holds.
func until(t *testing.T, ctx context.Context, what string, holds func() bool) {
	t.Helper()
	for !holds() {
		select {
		case <-ctx.Done():
			t.Fatalf("wait for %s: %v", what, ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}
