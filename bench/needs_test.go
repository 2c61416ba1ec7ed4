package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// On a fresh clone, bench says at once what is missing and which target installs it.
func TestMissingProgramsAreNamedFirst(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("PATH", t.TempDir())
	for _, test := range []struct {
		only  string
		wants []string
	}{
		{"page", []string{"page: chromium is missing", "node is missing"}},
		{"web", []string{"page: ", "native: node is missing"}},
		{"stream", []string{"stream: ", "node is missing"}},
		{"idle,native", []string{"native: "}},
		{"tracker", []string{"opentracker is missing", "node is missing"}},
		{"", []string{"page: ", "native: ", "stream: "}},
	} {
		err := run(context.Background(), []string{"-only", test.only, "-out", "out"})
		for _, want := range append(test.wants, "`make test-deps` installs them", "-only ", "idle") {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("-only %q: no %q in %v", test.only, want, err)
			}
		}
		if _, err := os.Stat("out"); err == nil {
			t.Errorf("-only %q: it has begun", test.only)
		}
	}
}

func TestUnknownSection(t *testing.T) {
	t.Chdir(t.TempDir())
	err := run(context.Background(), []string{"-only", "idle,pgae", "-out", "out"})
	if err == nil || !strings.Contains(err.Error(), `no section "pgae"; there are transfer, link`) {
		t.Errorf("got %v", err)
	}
}

// Where its programs are, a section is chosen.
func TestChosenSections(t *testing.T) {
	t.Chdir(t.TempDir())
	bin := t.TempDir()
	t.Setenv("PATH", bin)
	if err := os.WriteFile(filepath.Join(bin, "node"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(peerflixScript), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(peerflixScript, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := needPeerflix(); err != nil {
		t.Errorf("peerflix is there, and: %v", err)
	}
	chosen, _, err := choose("finished,idle,crowd", true)
	if err != nil || len(chosen) != 3 || chosen[0].name != "idle" {
		t.Errorf("got %v, %v", chosen, err)
	}
	for name := range needs {
		if !strings.Contains(" transfer link idle restart page native crowd stream finished tracker mount utp paths soak ", " "+name+" ") {
			t.Errorf("there is no section %q", name)
		}
	}
}

// Without root, a session of everything leaves out what needs it, and says what that is; who
// asks for it by name is told why it cannot be.
func TestWithoutRootIsSkippedByName(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("PATH", t.TempDir())
	defer func(was map[string][]need) { needs = was }(needs)
	needs = map[string][]need{"paths": {func() error { return errors.New("no root") }}}
	chosen, skipped, err := choose("", false)
	if err != nil || !slices.Equal(skipped, []string{"mount", "paths"}) || len(chosen) != len(sections)-3 {
		t.Errorf("skipped %v of %d, chose %d: %v", skipped, len(sections), len(chosen), err)
	}
	if _, _, err := choose("idle,paths", false); err == nil || !strings.Contains(err.Error(), "paths: no root") {
		t.Errorf("asked for by name: %v", err)
	}
}

// The soak takes half an hour: only who asks for it gets it.
func TestSoakRunsByNameOnly(t *testing.T) {
	defer func(was map[string][]need) { needs = was }(needs)
	needs = nil
	chosen, skipped, err := choose("", true)
	if err != nil || len(skipped) > 0 || len(chosen) != len(sections)-1 || slices.ContainsFunc(chosen, func(s section) bool { return s.name == "soak" }) {
		t.Errorf("of everything it chose %d of %d, skipped %v: %v", len(chosen), len(sections), skipped, err)
	}
	if chosen, _, err = choose("soak", true); err != nil || len(chosen) != 1 || chosen[0].name != "soak" {
		t.Errorf("by name it chose %v: %v", chosen, err)
	}
}

func TestUnknownRow(t *testing.T) {
	t.Chdir(t.TempDir())
	err := run(context.Background(), []string{"-only", "utp", "-rows", "lossy,losy", "-out", "out"})
	if err == nil || !strings.Contains(err.Error(), `no row "losy"; utp has loopback, 50ms`) {
		t.Errorf("got %v", err)
	}
	if err := checkRows(append(sectionRows["utp"], sectionRows["paths"]...)); err != nil {
		t.Error(err)
	}
}
