// Command barepion sends bytes over a data channel of pion/webrtc with its default
// settings, from one process to another: what WebRTC costs before any BitTorrent, and
// before any of what webrtcwire does about it.
//
//	barepion receive SIZE   prints {"addr": HOST:PORT}, then {"seconds": S} when it has SIZE bytes
//	barepion send SIZE HOST:PORT
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/pion/webrtc/v4"
)

// What pion's example of flow control has, but for messages of a block each.
const (
	messageSize = 16 << 10
	highWater   = 1 << 20
	lowWater    = 512 << 10
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "barepion:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 2 {
		return errors.New("want: receive SIZE, or send SIZE HOST:PORT")
	}
	size, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return err
	}
	switch {
	case args[0] == "receive":
		return receive(size)
	case args[0] == "send" && len(args) == 3:
		return send(size, args[2])
	default:
		return fmt.Errorf("%q: want: receive SIZE, or send SIZE HOST:PORT", args)
	}
}

func newPeerConnection() (*webrtc.PeerConnection, error) {
	var settings webrtc.SettingEngine
	settings.SetIncludeLoopbackCandidate(true)
	return webrtc.NewAPI(webrtc.WithSettingEngine(settings)).NewPeerConnection(webrtc.Configuration{})
}

// described sets our description and returns it with all candidates.
func described(pc *webrtc.PeerConnection, sdp webrtc.SessionDescription) ([]byte, error) {
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(sdp); err != nil {
		return nil, err
	}
	<-gathered
	return json.Marshal(pc.LocalDescription())
}

func receive(size int64) error {
	pc, err := newPeerConnection()
	if err != nil {
		return err
	}
	done := make(chan time.Duration, 1)
	pc.OnDataChannel(func(channel *webrtc.DataChannel) {
		var received int64
		var first time.Time
		channel.OnMessage(func(m webrtc.DataChannelMessage) {
			if received == 0 {
				first = time.Now()
			}
			if received += int64(len(m.Data)); received >= size {
				done <- time.Since(first)
			}
		})
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, err := answerTo(pc, r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_, _ = w.Write(answer)
	})}
	go func() { _ = server.Serve(listener) }() // until the process ends
	fmt.Printf("{\"addr\":%q}\n", listener.Addr())
	fmt.Printf("{\"seconds\":%f}\n", (<-done).Seconds())
	_, err = io.Copy(io.Discard, os.Stdin) // until its time was read
	return err
}

func answerTo(pc *webrtc.PeerConnection, offer io.Reader) ([]byte, error) {
	var sdp webrtc.SessionDescription
	if err := json.NewDecoder(offer).Decode(&sdp); err != nil {
		return nil, err
	}
	if err := pc.SetRemoteDescription(sdp); err != nil {
		return nil, err
	}
	answer, err := pc.CreateAnswer(nil)
	if err != nil {
		return nil, err
	}
	return described(pc, answer)
}

func send(size int64, to string) error {
	pc, err := newPeerConnection()
	if err != nil {
		return err
	}
	channel, err := pc.CreateDataChannel("bytes", nil)
	if err != nil {
		return err
	}
	opened, drained := make(chan struct{}), make(chan struct{}, 1)
	channel.OnOpen(func() { close(opened) })
	channel.SetBufferedAmountLowThreshold(lowWater)
	channel.OnBufferedAmountLow(func() {
		select {
		case drained <- struct{}{}:
		default:
		}
	})
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		return err
	}
	b, err := described(pc, offer)
	if err != nil {
		return err
	}
	if err := exchange(pc, to, b); err != nil {
		return err
	}
	<-opened
	for sent, message := int64(0), make([]byte, messageSize); sent < size; sent += messageSize {
		if err := channel.Send(message); err != nil {
			return err
		}
		if channel.BufferedAmount() > highWater {
			<-drained
		}
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// exchange hands over the offer and takes the answer.
func exchange(pc *webrtc.PeerConnection, to string, offer []byte) error {
	resp, err := http.Post("http://"+to, "application/json", bytes.NewReader(offer))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the receiver says %s", resp.Status)
	}
	var answer webrtc.SessionDescription
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return err
	}
	return pc.SetRemoteDescription(answer)
}
