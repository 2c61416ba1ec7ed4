// Preview serves the page over a file or folder, to look at while working on it:
//
//	make web && go run ./web/preview -announce ws://127.0.0.1:8000 ~/Videos/film
//
// Other peers (causeway seed, other pages) meet it at the tracker.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"

	"github.com/causeway-bt/causeway/web/testhost"
)

func main() {
	o := testhost.Options{}
	flag.StringVar(&o.Listen, "listen", "127.0.0.1:8090", "address")
	announce := flag.String("announce", "", "WebSocket tracker")
	flag.Int64Var(&o.PieceLength, "piece", 256<<10, "piece length in bytes")
	flag.IntVar(&o.Limit, "limit", 0, "bytes per second over HTTP")
	flag.StringVar(&o.Receive, "receive", "", "folder that files are sent to")
	torrent := flag.String("torrent", "", "write the .torrent here")
	flag.Parse()
	if *announce != "" {
		o.Announce = []string{*announce}
	}
	o.Path = flag.Arg(0)
	host, err := testhost.Start(o)
	if err == nil && *torrent != "" {
		err = os.WriteFile(*torrent, host.Torrent, 0o600)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(host.URL())
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)
	<-interrupted
	host.Close()
}
