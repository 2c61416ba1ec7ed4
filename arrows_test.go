package causeway_test

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/causeway-bt/causeway"

// arrows lists, for each room, the rooms it may import, as docs/ARCHITECTURE.md
// draws them. A room that is not listed may import nothing of the module.
var arrows = map[string][]string{
	"cmd":    {"client", "wire", "webrtcwire", "tracker", "stream", "mount", "web", "share"},
	"share":  {"web"},
	"client": {"wire", "webrtcwire", "tracker"},
	"mount":  {"stream"},     // what decides how far ahead is read, and who is let in; see corners
	"bench":  {"webrtcwire"}, // drives the program from outside, by its transports too
}

// corners lists, for each package below client, those of client and the other rooms that
// it may reach.
var corners = map[string][]string{
	"mount": {"stream/access", "stream/media", "stream/window"},

	"client/allot":     {},
	"client/network":   {},
	"client/discovery": {},
	"client/portmap":   {"client/network"},
	"client/reach":     {"client/network"},
	"client/choker":    {},
	"client/meta":      {"client/network"},
	"client/picker":    {"wire"},
	"client/disk":      {"client/meta", "client/network", "wire"},
	"client/source":    {"client/disk", "client/meta", "client/network", "client/picker", "wire"},
	"client/content":   {"client/disk", "client/meta", "client/network", "client/picker", "client/source", "wire"},
	"client/swarm": {
		"client/allot", "client/discovery", "client/network", "client/reach",
		"client/source", "client/disk", "client/meta", "client/picker", // by source.Identity
		"tracker", "tracker/ws", "webrtcwire", "webrtcwire/sctp", "webrtcwire/turnclient", "wire", "wire/transport",
	},
}

// room returns the top-level folder of one of the module's packages.
func room(pkg string) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(pkg, module+"/"), "/")
	return first
}

func TestImportArrowsPointOneWay(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", "{{.ImportPath}}\t{{.Dir}}\t{{join .Deps \" \"}}", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := 0
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		fields := strings.Split(lines.Text(), "\t")
		pkg, dir, deps := fields[0], fields[1], fields[2]
		if pkg == module {
			continue // this test's own package
		}
		seen++
		// Looking at the folder makes go test's cache notice when its files change.
		if _, err := os.ReadDir(dir); err != nil {
			t.Fatal(err)
		}
		from := room(pkg)
		allowed := map[string]bool{from: true}
		for _, to := range arrows[from] {
			allowed[to] = true
		}
		for dep := range strings.FieldsSeq(deps) {
			inside, ours := strings.CutPrefix(dep, module+"/")
			if may, listed := corners[strings.TrimPrefix(pkg, module+"/")]; ours && listed && !reaches(may, inside) {
				t.Errorf("%s reaches %s; it may reach %v", strings.TrimPrefix(pkg, module+"/"), inside, may)
			}
			if ours && !allowed[room(dep)] {
				t.Errorf("%s imports %s: %s may import %v of this module; declare an interface and be handed the thing",
					strings.TrimPrefix(pkg, module+"/"), strings.TrimPrefix(dep, module+"/"), from, arrows[from])
			}
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if seen == 0 {
		t.Fatal("go list named no packages")
	}
}

// reaches reports whether a package is one of those listed, or internal to one.
func reaches(may []string, pkg string) bool {
	return slices.ContainsFunc(may, func(m string) bool {
		return pkg == m || strings.HasPrefix(pkg, m+"/internal/") || strings.HasPrefix(m, pkg+"/")
	})
}
