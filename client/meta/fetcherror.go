package meta

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
)

// fetchError is a failure to fetch a torrent, told without the names of Go's functions.
type fetchError struct {
	from string
	err  error
}

// fetchFailed says why a torrent could not be fetched. What a server has answered tells of
// its URL by itself.
func fetchFailed(from *url.URL, err error) error {
	if request := new(url.Error); !errors.As(err, &request) {
		return fmt.Errorf("cannot fetch the torrent: %w", err)
	}
	return &fetchError{from.Redacted(), err}
}

func (e *fetchError) Error() string {
	return fmt.Sprintf("cannot fetch the torrent from %s: %s", e.from, reasonOf(e.err))
}

func (e *fetchError) Unwrap() error { return e.err }

// reasonOf is why a host could not be asked, as people say it.
func reasonOf(err error) string {
	var lookup *net.DNSError
	var call *os.SyscallError
	var failure net.Error
	var request *url.Error
	switch {
	case errors.As(err, &lookup) && lookup.IsNotFound:
		return fmt.Sprintf("there is no host %q", lookup.Name)
	case errors.As(err, &lookup):
		return fmt.Sprintf("the address of %q cannot be looked up now", lookup.Name)
	case errors.As(err, &failure) && failure.Timeout():
		return "there is no answer"
	case errors.As(err, &call):
		return call.Err.Error()
	case errors.As(err, &request):
		return request.Err.Error()
	}
	return err.Error()
}
