package causeway_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNothingIsTimedByTheCalendar: somebody sets the clock back, and keep-alives stop; or it
// is 1970, and a deadline that was meant to be long ago is yet to come. What measures time keeps
// the time.Time that time.Now returned, which has the monotonic clock in it.
func TestNothingIsTimedByTheCalendar(t *testing.T) {
	for _, room := range []string{"wire", "wire/transport", "webrtcwire", "client/discovery"} {
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
				if strings.Contains(string(b), calendar) {
					t.Errorf("%s uses %s", file, calendar)
				}
			}
		}
	}
}
