package reach

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/url"
	"strings"
	"syscall"
	"unicode"
)

// Explain says in words what kept a server from answering. The error it returns has
// err as its cause; nil stays nil, and what has words of its own keeps them.
func Explain(err error) error {
	if err == nil {
		return nil
	}
	// An http.Client's error holds the URL: it is long, has the announce's
	// parameters in it, and is known to whoever reads this.
	var wrapped *url.Error
	for errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	text := describe(err)
	if text == "" || text == err.Error() {
		return err
	}
	return &explained{text, err}
}

type explained struct {
	text  string
	cause error
}

func (e *explained) Error() string { return e.text }
func (e *explained) Unwrap() error { return e.cause }

func describe(err error) string {
	var already *explained
	if errors.As(err, &already) {
		return already.text
	}
	if text := describeDNS(err); text != "" {
		return text
	}
	if text := describeTLS(err); text != "" {
		return text
	}
	if text := describeSocket(err); text != "" {
		return text
	}
	return describeHTTP(err)
}

func describeDNS(err error) string {
	var dns *net.DNSError
	if !errors.As(err, &dns) {
		return ""
	}
	switch {
	case dns.IsNotFound:
		return "no host is named " + Words(dns.Name) + " (DNS)"
	case dns.IsTimeout:
		return "DNS gave no answer for " + Words(dns.Name)
	}
	return "DNS could not look up " + Words(dns.Name) + ": " + dns.Err
}

func describeTLS(err error) string {
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var verification *tls.CertificateVerificationError
	switch {
	case errors.As(err, &unknown):
		return "the server's certificate is signed by nobody whom this system trusts (TLS)"
	case errors.As(err, &host):
		return "the server's certificate is for another name than " + Words(host.Host) + " (TLS)"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the server's certificate has expired, or is not valid yet (TLS)"
	case errors.As(err, &verification):
		return "the server's certificate cannot be trusted (TLS): " + verification.Err.Error()
	case errors.As(err, &record), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return "the server does not speak TLS at this port"
	case errors.As(err, &alert):
		return "the server refused the TLS connection: " + strings.TrimPrefix(alert.Error(), "tls: ")
	}
	return ""
}

// socketErrors says what system errors mean, of is an address.
var socketErrors = []struct {
	errs []syscall.Errno
	text func(of string) string
}{
	{connRefused, func(of string) string { return "connection refused by " + of }},
	{connReset, func(of string) string { return "the connection was reset by " + of }},
	{hostUnreachable, func(of string) string { return "no route to " + of }},
	{netUnreachable, func(of string) string { return "no network from here to " + of }},
	{timedOut, func(of string) string { return "no answer from " + of }},
	{noAddress, func(of string) string { return "this system has no address to reach " + of + " from" }},
	{notPermitted, func(of string) string { return "this system does not permit a connection to " + of }},
}

func describeSocket(err error) string {
	var op *net.OpError
	if !errors.As(err, &op) {
		return ""
	}
	of := "the server"
	if op.Addr != nil {
		of = op.Addr.String()
	}
	for _, s := range socketErrors {
		for _, e := range s.errs {
			if errors.Is(err, e) {
				return s.text(of)
			}
		}
	}
	var address *net.AddrError
	switch {
	case errors.As(err, &address):
		// Go says so of a name that has addresses of the other family only.
		return "no usable address: " + address.Error()
	case op.Timeout():
		return "no answer from " + of
	case op.Op == "dial" && op.Err != nil:
		return "cannot connect to " + of + ": " + op.Err.Error()
	case op.Err != nil:
		return "the connection to " + of + " broke: " + op.Err.Error()
	}
	return ""
}

// IsNoNetwork says whether an error is that this system has no way to addresses of a
// kind at all, as IPv6 on many.
func IsNoNetwork(err error) bool {
	for _, list := range [][]syscall.Errno{netUnreachable, noAddress} {
		for _, e := range list {
			if errors.Is(err, e) {
				return true
			}
		}
	}
	return false
}

// httpErrors are errors of net/http that have no type, by a part of their text.
var httpErrors = []struct{ part, text string }{
	{"server closed idle connection", "the server closed the connection without an answer"},
	{"readLoopPeekFailLocked", "the server's answer is not HTTP"}, // it came before the request
	{"malformed HTTP", "the server's answer is not HTTP"},
	{"response headers exceeded", "the server's answer has a header that is too large"},
	{"TLS handshake timeout", "the server did not finish the TLS handshake in time"},
	{"awaiting response headers", "the server gave no answer in time"},
	{"unsupported protocol scheme", "the server redirected to something that is not http or https"},
	{"no Host in request URL", "the URL names no host"},
	{"proxyconnect", "the proxy did not connect us"},
}

func describeHTTP(err error) string {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "the server closed the connection in the middle of its answer"
	case errors.Is(err, io.EOF):
		return "the server closed the connection without an answer"
	}
	text := err.Error()
	for _, e := range httpErrors {
		if strings.Contains(text, e.part) {
			return e.text
		}
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return "no answer in time"
	}
	return ""
}

// maxWords bounds words from outside, in bytes.
const maxWords = 200

// Words makes words from outside fit for a line of a log or a terminal.
func Words(s string) string {
	printable := strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s[:min(len(s), maxWords)])
	if len(printable) > maxWords {
		printable = strings.ToValidUTF8(printable[:maxWords], "")
	}
	if len(s) > maxWords {
		printable += "..."
	}
	return printable
}
