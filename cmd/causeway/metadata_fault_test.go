package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/causeway-bt/causeway/bench/cli"
	"github.com/causeway-bt/causeway/bench/hostile"
	"github.com/causeway-bt/causeway/bench/realpeer"
)

// info is an info dictionary of one file of 20 bytes, with parts to be replaced.
type info struct{ files, name, pieceLength, pieces string }

func (i info) torrent() []byte {
	or := func(s, otherwise string) string {
		if s == "" {
			return otherwise
		}
		return s
	}
	return []byte("d4:infod" + or(i.files, "6:lengthi20e") + "4:name" + or(i.name, "1:n") +
		"12:piece length" + or(i.pieceLength, "i16384e") + "6:pieces" + or(i.pieces, "20:aaaaaaaaaaaaaaaaaaaa") + "ee")
}

// paths is the list of files of a torrent, each of 10 bytes, with these paths.
func paths(lists ...[]string) string {
	var s strings.Builder
	s.WriteString("5:filesl")
	for _, l := range lists {
		s.WriteString("d6:lengthi10e4:pathl")
		for _, p := range l {
			fmt.Fprintf(&s, "%d:%s", len(p), p)
		}
		s.WriteString("ee")
	}
	s.WriteString("e")
	return s.String()
}

// hostileTorrent is what somebody might make to do harm.
type hostileTorrent struct {
	name    string
	torrent []byte
	taken   bool  // something can be made of it inside the chosen folder; all others are refused
	memory  int64 // most bytes that it may cost, default 100 MiB
}

// Hostile torrents are refused with one line and status 2, or, where one can make
// something of them, handled inside the chosen folder. Either way nothing crashes,
// little memory is used, and nothing is written beside the folder.
func TestHostileTorrents(t *testing.T) {
	many := make([][]string, 1_000_000)
	for i := range many {
		many[i] = []string{fmt.Sprint(i)}
	}
	cases := []hostileTorrent{
		{name: "parent folder", torrent: info{files: paths([]string{"..", "..", "escaped"}, []string{"a"})}.torrent()},
		{name: "parent folder as the name", torrent: info{name: "2:.."}.torrent()},
		{name: "absolute name", torrent: info{name: "12:/tmp/escaped"}.torrent(), taken: true},
		{name: "absolute path", torrent: info{files: paths([]string{"/escaped"}, []string{"a"})}.torrent(), taken: true},
		{name: "slash in a part", torrent: info{files: paths([]string{"../../escaped"}, []string{"a"})}.torrent()},
		{name: "backslash", torrent: info{files: paths([]string{`..\..\escaped`}, []string{"a"})}.torrent()},
		{name: "NUL", torrent: info{files: paths([]string{"a\x00b"}, []string{"a"})}.torrent()},
		{name: "empty part", torrent: info{files: paths([]string{""}, []string{"a"})}.torrent(), taken: true},
		{name: "no path", torrent: info{files: paths(nil, []string{"a"})}.torrent()},
		{name: "the same name twice", torrent: info{files: paths([]string{"a"}, []string{"a"})}.torrent(), taken: true},
		{name: "names that differ in case", torrent: info{files: paths([]string{"a"}, []string{"A"})}.torrent(), taken: true},
		{name: "file and folder of one name", torrent: info{files: paths([]string{"a"}, []string{"a", "b"})}.torrent(), taken: true},
		{name: "names reserved on Windows", torrent: info{files: paths([]string{"con"}, []string{"AUX.txt"})}.torrent(), taken: true},
		{name: "name of 5000 bytes", torrent: info{name: "5000:" + strings.Repeat("n", 5000)}.torrent(), taken: true},
		{name: "a million files", torrent: info{files: paths(many...), pieces: "20:aaaaaaaaaaaaaaaaaaaa", pieceLength: "i16777216e"}.torrent(), taken: true, memory: 800 << 20},
		{name: "piece length 0", torrent: info{pieceLength: "i0e"}.torrent()},
		{name: "piece length 2^40", torrent: info{pieceLength: "i1099511627776e"}.torrent()},
		{name: "negative piece length", torrent: info{pieceLength: "i-16384e"}.torrent()},
		{name: "negative size", torrent: info{files: "6:lengthi-1e"}.torrent()},
		{name: "sizes that overflow", torrent: info{files: "5:filesld6:lengthi9223372036854775807e4:pathl1:aeed6:lengthi9223372036854775807e4:pathl1:beee"}.torrent()},
		{name: "too few pieces", torrent: info{files: "6:lengthi1000000e"}.torrent()},
		{name: "too many pieces", torrent: info{pieces: "40:" + strings.Repeat("a", 40)}.torrent()},
		{name: "half a hash", torrent: info{pieces: "10:aaaaaaaaaa"}.torrent()},
		{name: "deep bencode", torrent: []byte("d4:info" + strings.Repeat("l", 5_000_000) + strings.Repeat("e", 5_000_000) + "e")},
		{name: "huge string announced", torrent: []byte("d4:info9000000000:x")},
		{name: "not a dictionary", torrent: []byte("i42e")},
		{name: "empty", torrent: nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.memory == 0 {
				c.memory = 100 << 20
			}
			c.check(t)
		})
	}
}

func (h *hostileTorrent) check(t *testing.T) {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, "x", "y", "out")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, "hostile.torrent")
	if err := os.WriteFile(path, h.torrent, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{
		{"info", path}, {"verify", path, dir}, args([]string{"download", path, "-o", dir}, alone),
	} {
		run := start(t, command...)
		peak := watchMemory(run)
		// A torrent that is taken waits for peers, who do not come.
		_, err := run.WaitFor(within(t, patience), "progress or the end", func(e cli.Event) bool { return e.Event == "progress" })
		if err == nil {
			if err := run.Interrupt(); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case <-run.Done():
		case <-within(t, patience).Done():
			t.Fatalf("causeway %s does not end", command[0])
		}
		text := run.Output()
		if strings.Contains(text, "panic") || strings.Contains(text, "goroutine ") || run.ExitCode() < 0 {
			t.Fatalf("causeway %s crashed:\n%s", command[0], text)
		}
		want := 2 // verify finds no data of those that are taken
		if h.taken {
			want = map[string]int{"info": 0, "download": 130, "verify": 2}[command[0]]
		}
		if run.ExitCode() != want {
			t.Errorf("causeway %s ended with status %d, want %d", command[0], run.ExitCode(), want)
		}
		if e, _ := run.Last("error"); want == 2 && (e.Message == "" || strings.Contains(e.Message, "\n") || strings.Count(text, "\n") != 2) {
			t.Errorf("causeway %s refused it with other than an event and one line: %q\n%s", command[0], e.Message, text)
		}
		if n := peak(); n > h.memory {
			t.Errorf("causeway %s used %d MiB", command[0], n>>20)
		}
	}
	for _, beside := range []string{filepath.Join(root, "escaped"), filepath.Join(root, "x", "escaped"), "/tmp/escaped", "/escaped"} {
		if _, err := os.Lstat(beside); err == nil {
			t.Errorf("%s was written", beside)
		}
	}
}

// A magnet link's metadata comes from peers, who may lie: the download goes on with
// those who do not.
func TestForgedMetadata(t *testing.T) {
	forged := []byte("d6:lengthi20e4:name1:n12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaae")
	cases := []struct {
		name     string
		metadata hostile.Metadata
	}{
		{"forged", hostile.Metadata{Size: int64(len(forged)), Bytes: forged}},
		{"of negative size", hostile.Metadata{Size: -1, Bytes: forged}},
		{"of no size", hostile.Metadata{Size: 0, Bytes: forged}},
		{"of huge size", hostile.Metadata{Size: 1 << 40, Bytes: forged}},
		{"that never ends", hostile.Metadata{Size: 8 << 20, Bytes: make([]byte, 1<<20)}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			tor := mixed(t)
			liar, err := hostile.ListenMetadata(tor, hostile.NeverAnswers(), c.metadata)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(liar.Close)
			dir := t.TempDir()
			// The liar comes first, so that it is asked; the honest one only after that.
			honestPort, err := realpeer.FreePort()
			if err != nil {
				t.Fatal(err)
			}
			honest := fmt.Sprintf("127.0.0.1:%d", honestPort)
			run := start(t, args([]string{"download", tor.Magnet(liar.Addr(), honest), "-o", dir}, alone)...)
			peak := watchMemory(run)
			eventually(t, patience, "a connection to the liar", func() bool { return liar.Report().Connections > 0 })
			realSeed(t, tor, realpeer.Options{Port: honestPort})
			finish(t, run, tor, dir)
			const bound = 300 << 20
			if n := peak(); n > bound {
				t.Errorf("the download used %d MiB", n>>20)
			}
		})
	}
}
