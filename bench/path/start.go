package path

import (
	"os"
	"testing"
)

// Need skips a test where there can be no path, and says why; where CAUSEWAY_REQUIRE_PEERS=1
// (continuous integration) and we are root, it fails the test instead.
func Need(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("makes network namespaces: not with -short")
	}
	err := Available()
	switch {
	case err == nil:
	case os.Getenv("CAUSEWAY_REQUIRE_PEERS") == "1" && os.Getuid() == 0:
		t.Fatalf("CAUSEWAY_REQUIRE_PEERS=1, but %v", err)
	default:
		t.Skip(err)
	}
}

// Start makes a path for a test. It is closed when the test ends, and logged if that failed.
func Start(t testing.TB, c Config) *Path {
	t.Helper()
	Need(t)
	p, err := New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			there, back := p.Counters()
			t.Logf("the path, %v: there %+v, back %+v", c, there, back)
		}
		p.Close()
	})
	return p
}
