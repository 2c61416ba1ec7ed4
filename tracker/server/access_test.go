package server

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/tracker/server/table"
)

func TestAccessListsAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	allow, deny := filepath.Join(dir, "allow"), filepath.Join(dir, "deny")
	write := func(file string, hashes ...[20]byte) {
		t.Helper()
		var b bytes.Buffer
		b.WriteString("# a comment\n\n")
		for _, h := range hashes {
			fmt.Fprintf(&b, "%x  its name\n", h)
		}
		if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(allow, hash(1), hash(2))
	write(deny, hash(2))
	s, err := New(Config{Allow: allow, Deny: deny})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	refused := func(h [20]byte) error {
		a := table.Announce{Hash: h, ID: id(1), Addr: netip.MustParseAddrPort("192.0.2.1:1")}
		err := s.Swarms().Announce(&a, &table.Reply{})
		w := table.WebAnnounce{Hash: h, ID: id(2), Socket: 1, Host: a.Addr.Addr()}
		if werr := s.Swarms().AnnounceWeb(&w, &table.WebReply{}); !errors.Is(werr, err) {
			t.Errorf("over WebSocket %v, else %v", werr, err)
		}
		if _, serr := s.Swarms().Scrape(h); !errors.Is(serr, err) {
			t.Errorf("a scrape %v, an announce %v", serr, err)
		}
		return err
	}
	check := func(one, two, three error) {
		t.Helper()
		for i, want := range []error{one, two, three} {
			if err := refused(hash(byte(i + 1))); !errors.Is(err, want) {
				t.Errorf("torrent %d: %v, want %v", i+1, err, want)
			}
		}
	}
	check(nil, errDenied, errNotAllowed)
	write(allow, hash(1), hash(2), hash(3))
	write(deny, hash(1))
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	check(errDenied, nil, nil)
	// One who is denied can still leave.
	gone := table.Announce{Hash: hash(1), ID: id(1), Addr: netip.MustParseAddrPort("192.0.2.1:1"), Event: table.Stopped}
	if err := s.Swarms().Announce(&gone, &table.Reply{}); err != nil {
		t.Error(err)
	}
	// What cannot be read changes nothing.
	if err := os.WriteFile(deny, []byte("what?\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(); err == nil || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("%v", err)
	}
	check(errDenied, nil, nil)
	// A file that has changed is seen, one that has not is not read.
	write(deny, hash(3))
	if err := os.Chtimes(deny, time.Now(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := s.lists.read(false); err != nil {
		t.Fatal(err)
	}
	check(nil, nil, errDenied)
	before := s.lists.deny.hashes.Load()
	if err := s.lists.read(false); err != nil || s.lists.deny.hashes.Load() != before {
		t.Error("a file that has not changed was read again", err)
	}
}

func TestAccessListThatIsMissing(t *testing.T) {
	if _, err := New(Config{Allow: filepath.Join(t.TempDir(), "nothing")}); err == nil || !strings.Contains(err.Error(), "access list") {
		t.Errorf("%v", err)
	}
}

func FuzzList(f *testing.F) {
	f.Add([]byte("# x\n0123456789abcdef0123456789ABCDEF01234567 name\n\n"))
	f.Add([]byte("0123"))
	f.Fuzz(func(t *testing.T, b []byte) {
		hashes, err := parseList(bytes.NewReader(b))
		if err == nil && len(hashes) > len(b)/40 {
			t.Fatalf("%d infohashes in %d bytes", len(hashes), len(b))
		}
		for h := range hashes {
			if !bytes.Contains(bytes.ToLower(b), fmt.Appendf(nil, "%x", h)) {
				t.Fatalf("%x is not in the list", h)
			}
		}
	})
}
