package causeway_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNothingIsTimedByTheCalendar: somebody sets the clock back, and keep-alives stop; or it
// is 1970, and a deadline that was meant to be long ago is yet to come. What measures time keeps
// the time.Time that time.Now returned, which has the monotonic clock in it. Linux stamps packets
// by the calendar, though: where that is made a time of the monotonic clock, it cannot be off by
// more than the packet may have waited.
func TestNothingIsTimedByTheCalendar(t *testing.T) {
	for _, room := range []string{"wire", "wire/transport", "wire/utp", "webrtcwire", "client/discovery", "client/reach", "client/portmap"} {
		files, err := filepath.Glob(filepath.Join(filepath.FromSlash(room), "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", room, len(files), err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, calendar := range []string{"time.Unix(", ".UnixNano()", ".UnixMilli()", ".Unix()", ".Round(0)"} {
				stamp := calendar == ".UnixNano()" && filepath.ToSlash(file) == "wire/transport/receive_linux.go"
				if strings.Contains(string(b), calendar) && !stamp {
					t.Errorf("%s uses %s", file, calendar)
				}
			}
		}
	}
}
