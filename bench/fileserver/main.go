// Command fileserver serves a folder with Go's http.FileServer: the measure for how
// causeway serves a file that is all there. The address that it listens on is its
// only line of output.
//
//	fileserver FOLDER
package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "fileserver:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return errors.New("want one folder to serve")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	const headerTimeout = 10 * time.Second
	server := &http.Server{Handler: http.FileServer(http.Dir(args[0])), ReadHeaderTimeout: headerTimeout}
	return server.Serve(listener)
}
