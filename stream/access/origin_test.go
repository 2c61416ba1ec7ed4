package access_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/causeway-bt/causeway/stream/access"
)

// FuzzOrigins: what is taken for an origin lets no other one in.
func FuzzOrigins(f *testing.F) {
	for _, text := range []string{"https://site.example", "HTTPS://Site.Example:443/", "http://[::1]:80", "null", "*", "chrome-extension://abc", "https://a:b", "//x", "https://%41"} {
		f.Add(text, "https://site.example")
		f.Add(text, text)
	}
	f.Fuzz(func(t *testing.T, text, origin string) {
		o, err := access.ParseOrigins([]string{text})
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = "localhost"
		r.Header["Origin"] = []string{origin}
		got := o.Caller(r)
		if got == access.NamedCaller && (err != nil || o.Any()) {
			t.Fatalf("%q is named by %q: %v", origin, text, err)
		}
		if got == access.NamedCaller { // each origin has one spelling
			again, err := access.ParseOrigins([]string{origin})
			if err != nil || again.Caller(r) != access.NamedCaller {
				t.Fatalf("%q, named by %q, is no origin by itself: %v", origin, text, err)
			}
		}
		if got == access.OwnCaller && origin != "" && origin[0] == 'h' && len(origin) > len("http://localhost") {
			t.Fatalf("%q is taken for the server's own", origin)
		}
	})
}
