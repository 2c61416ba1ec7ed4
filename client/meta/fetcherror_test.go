package meta

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// What is told of a host that cannot be asked has no names of Go's functions in it.
func TestFetchErrorsArePlain(t *testing.T) {
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	_, err := Load(t.Context(), closed.URL+"/x.torrent", nil)
	if want := "cannot fetch the torrent from " + closed.URL + "/x.torrent: connection refused"; err == nil || err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	untrusted := httptest.NewTLSServer(http.NotFoundHandler())
	defer untrusted.Close()
	if _, err := Load(t.Context(), untrusted.URL, nil); err == nil || strings.Contains(err.Error(), "Get ") || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("got %q", err)
	}
	absent := httptest.NewServer(http.NotFoundHandler())
	defer absent.Close()
	var usage *UsageError
	if _, err := Load(t.Context(), absent.URL, nil); !errors.As(err, &usage) || err.Error() != "cannot fetch the torrent: "+absent.URL+" answers 404 Not Found; check the URL" {
		t.Errorf("got %q", err)
	}
}

func TestReasons(t *testing.T) {
	get := func(err error) error { return &url.Error{Op: "Get", URL: "http://x/", Err: err} }
	for want, err := range map[string]error{
		`there is no host "x"`:                       get(&net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Name: "x", IsNotFound: true}}),
		`the address of "x" cannot be looked up now`: get(&net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Name: "x", IsTemporary: true}}),
		"there is no answer":                         get(context.DeadlineExceeded),
		`unsupported protocol scheme "file"`:         get(errors.New(`unsupported protocol scheme "file"`)),
		"http://x/ answers 503; try again later":     errors.New("http://x/ answers 503; try again later"),
	} {
		if got := reasonOf(err); got != want {
			t.Errorf("%v: got %q, want %q", err, got, want)
		}
	}
	if err := error(&fetchError{"http://x/", get(context.Canceled)}); !errors.Is(err, context.Canceled) {
		t.Error("the cause is lost")
	}
}
