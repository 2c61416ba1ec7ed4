package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"

	"golang.org/x/term"
)

// printer writes what a command has to say: results and JSON lines to standard
// output, everything meant for people to standard error. Its methods may be
// called from several goroutines.
type printer struct {
	json, quiet, verbose bool // set by flags

	mu       *sync.Mutex
	out, err io.Writer
	terminal *os.File // standard error, if it is a terminal
	drawn    []string // the lines that Draw keeps at the bottom of the terminal
	log      *logQueue
}

func newPrinter(out, err io.Writer) printer {
	p := printer{mu: new(sync.Mutex), out: out, err: err, log: &logQueue{}}
	if file, ok := err.(*os.File); ok && term.IsTerminal(int(file.Fd())) && enableEscapes(file) {
		p.terminal = file
	}
	return p
}

// eventHeader is what all JSON lines start with.
type eventHeader struct {
	Time  string `json:"time"` // RFC 3339
	Event string `json:"event"`
}

// event writes a JSON line, with --json. fields is a struct.
func (p *printer) event(name string, fields any) {
	if !p.json {
		return
	}
	var b bytes.Buffer
	encode(&b, eventHeader{time.Now().Format(time.RFC3339Nano), name})
	b.Truncate(b.Len() - len("}\n"))
	begin := b.Len()
	if long, ok := fields.(interface{ encode(*bytes.Buffer) }); ok {
		long.encode(&b)
	} else {
		encode(&b, fields)
	}
	if line := b.Bytes(); string(line[begin:]) == "{}\n" {
		b.Truncate(begin)
		b.WriteString("}\n")
	} else {
		line[begin] = ','
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = p.out.Write(b.Bytes()) // nobody is there to be told
}

// encode appends an object, with a line end.
func encode(b *bytes.Buffer, value any) {
	encoder := json.NewEncoder(b)
	encoder.SetEscapeHTML(false) // magnet links have ampersands, and this is no web page
	if err := encoder.Encode(value); err != nil {
		panic(fmt.Errorf("encoding an event: %w", err)) // their types are our own
	}
}

// result prints what a script would want of the command, without --json.
func (p *printer) result(text string) {
	if p.json {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	fmt.Fprintln(p.out, text)
	p.redraw()
}

// line tells people something, unless they want quiet or JSON.
func (p *printer) line(format string, args ...any) {
	if p.quiet || p.json {
		return
	}
	p.print(fmt.Sprintf(format, args...))
}

// messageEvent is the body of "warning" and "error".
type messageEvent struct {
	Message  string `json:"message"`
	InfoHash string `json:"infohash,omitempty"`
}

// warn reports what does not stop the command.
func (p *printer) warn(infoHash, message string) {
	p.event("warning", messageEvent{message, infoHash})
	p.line("warning: %s", message)
}

// fail reports a failure, on one line: of a torrent, or of the command if infoHash
// is empty.
func (p *printer) fail(infoHash string, err error) {
	message := strings.ReplaceAll(err.Error(), "\n", "; ")
	p.event("error", messageEvent{message, infoHash})
	p.draw(nil)
	p.print("causeway: " + message)
}

// printable replaces what could control the terminal: some of what is printed comes
// from peers and trackers.
func printable(r rune) rune {
	if unicode.IsControl(r) && r != '\n' {
		return ' '
	}
	return r
}

// print writes text to standard error.
func (p *printer) print(text string) {
	text = strings.Map(printable, text)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	fmt.Fprintln(p.err, text)
	p.redraw()
}

// raw writes lines of our own making, which may control the terminal, to standard error.
func (p *printer) raw(lines []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	for _, line := range lines {
		fmt.Fprintln(p.err, line)
	}
	p.redraw()
}

// bars tells whether draw shows anything.
func (p *printer) bars() bool { return p.terminal != nil && !p.quiet && !p.json }

// draw replaces the lines at the bottom of the terminal.
func (p *printer) draw(lines []string) {
	if !p.bars() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	p.drawn = lines
	p.redraw()
}

// erase takes the drawn lines away, so that others can be printed.
func (p *printer) erase() {
	if len(p.drawn) > 0 {
		fmt.Fprintf(p.err, "\x1b[%dA\x1b[J", len(p.drawn))
	}
}

func (p *printer) redraw() {
	if len(p.drawn) == 0 {
		return
	}
	width, height := p.size()
	// A line that wraps, or one above the screen, could not be erased.
	p.drawn = p.drawn[:min(len(p.drawn), max(height-1, 1))]
	for _, line := range p.drawn {
		line = strings.Map(printable, strings.ReplaceAll(line, "\n", " "))
		fmt.Fprintln(p.err, shorten(line, width-1))
	}
}

// bar lays out a line for draw, as fit does.
func (p *printer) bar(name string, bar func(columns int) string, details ...string) string {
	if !p.bars() {
		return ""
	}
	width, _ := p.size()
	return fit(width-1, name, bar, details)
}

// size is that of the terminal, in characters.
func (p *printer) size() (width, height int) {
	width, height, err := term.GetSize(int(p.terminal.Fd()))
	if err != nil || width <= 0 || height <= 0 { // some terminals do not know
		return 80, 24
	}
	return width, height
}
