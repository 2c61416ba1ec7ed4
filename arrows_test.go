package causeway_test

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/causeway-bt/causeway"

// arrows lists, for each room, the rooms it may import, as docs/ARCHITECTURE.md
// draws them. A room that is not listed may import nothing of the module.
var arrows = map[string][]string{
	"cmd":    {"client", "wire", "webrtcwire", "tracker", "stream", "web"},
	"client": {"wire", "webrtcwire", "tracker"},
	"bench":  {"webrtcwire"}, // drives the program from outside, by its transports too
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
			if strings.HasPrefix(dep, module+"/") && !allowed[room(dep)] {
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
