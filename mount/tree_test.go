package mount

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Torrents of one name have folders of their own, and numbers that depend on nothing else.
func TestTreeOfTorrents(t *testing.T) {
	files := []File{
		{Path: []string{"a", "deep", "x"}, Length: 5},
		{Path: []string{"a", "hidden"}, Length: 7, Hidden: true},
		{Path: []string{"b"}, Length: 3},
		{Path: []string{"only hidden", "y"}, Hidden: true},
	}
	one, two := newFake("same", files...), newFake("same", files...)
	fs := New(Config{Folders: true})
	defer fs.Close()
	for _, torrent := range []*fake{one, two} {
		if err := fs.Add(torrent); err != nil {
			t.Fatal(err)
		}
	}
	if bytes, count := fs.tree.totals(); bytes != 16 || count != 4 {
		t.Errorf("%d bytes in %d files, want 16 in 4", bytes, count)
	}
	for path, want := range map[string]bool{
		"/": true, "/same": true, "/same/a/deep/x": true, "/same/b": true, "/same/a/hidden": false,
		"/same/only hidden": false, "/same/..": false, "/same/b/c": false, "/other": false, "/same//b/": true,
	} {
		e, ok := fs.tree.find(path)
		if ok != want {
			t.Errorf("%s: found %v, want %v", path, ok, want)
		}
		if back, known := fs.tree.byID(fs.tree.id(e)); ok && (!known || back != e) {
			t.Errorf("%s is not found by its number", path)
		}
	}
	again := New(Config{Folders: true})
	defer again.Close()
	one.files[1].Hidden = false // what is shown does not matter to the numbers
	if err := again.Add(one); err != nil {
		t.Fatal(err)
	}
	a, _ := fs.tree.find("/same/b")
	b, _ := again.tree.find("/same/b")
	if fs.tree.id(a) != again.tree.id(b) {
		t.Error("a file has another number in the next mount")
	}
	if _, ok := fs.tree.byID(1 << 40); ok {
		t.Error("a number that nothing has is found")
	}
	single := New(Config{})
	defer single.Close()
	if _, ok := single.tree.find("/same"); ok || single.tree.root().branch != nil {
		t.Error("there is something before the metadata is")
	}
	if err := single.Add(one); err != nil {
		t.Fatal(err)
	}
	if _, ok := single.tree.find("/a/deep/x"); !ok {
		t.Error("the only torrent's files are not in the root")
	}
	if err := single.Add(two); err == nil {
		t.Error("a second one is taken without folders")
	}
}

// Whatever path a client sends, it is answered, with nothing but what is in the tree.
func FuzzWebDAV(f *testing.F) {
	for _, seed := range []string{"/film", "/", "//", "/../x", "/film/..", "/%2e%2e", "/a\x00", "/film/", "\\", ""} {
		f.Add(seed, "PROPFIND", "1")
	}
	f.Add("/film", "GET", "")
	f.Add("/film", "LOCK", "infinity")
	fs := New(Config{})
	if err := fs.Add(newFake("film", File{Path: []string{"film"}, Length: 0})); err != nil {
		f.Fatal(err)
	}
	handler := fs.WebDAV()
	f.Fuzz(func(t *testing.T, path, method, depth string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.URL.Path, r.Method = path, method
		r.Header.Set("Depth", depth)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code == http.StatusOK && method == http.MethodGet && strings.Trim(path, "/") != "film" {
			t.Errorf("%s %q is answered with %d", method, path, w.Code)
		}
		if w.Code < 300 && !strings.Contains(allowed, method) {
			t.Errorf("%s is answered with %d", method, w.Code)
		}
	})
}
