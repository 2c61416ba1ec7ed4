package main

import (
	"context"
	"log/slog"
	"strings"
)

// warnings is a slog.Handler that prints what is worth a warning as one, and with --verbose
// the rest as log lines.
type warnings struct {
	app   *app
	attrs []slog.Attr
}

func (w *warnings) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn || w.app.verbose
}

func (w *warnings) Handle(ctx context.Context, record slog.Record) error {
	record.AddAttrs(w.attrs...)
	if record.Level < slog.LevelWarn {
		return slog.NewTextHandler(logWriter{&w.app.printer}, &slog.HandlerOptions{Level: slog.LevelDebug}).Handle(ctx, record)
	}
	var text strings.Builder
	text.WriteString(record.Message)
	record.Attrs(func(attr slog.Attr) bool {
		text.WriteString("; " + attr.Key + ": " + attr.Value.String())
		return true
	})
	w.app.warn("", strings.ReplaceAll(text.String(), "\n", "; "))
	return nil
}

func (w *warnings) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &warnings{app: w.app, attrs: append(w.attrs[:len(w.attrs):len(w.attrs)], attrs...)}
}

// WithGroup leaves the names of groups out.
func (w *warnings) WithGroup(string) slog.Handler { return w }

// accessLog is a logger of announces and scrapes: with --json of events, else of lines with
// key=value on standard error.
func (a *app) accessLog() *slog.Logger {
	if !a.json {
		return slog.New(slog.NewTextHandler(logWriter{&a.printer}, nil))
	}
	return slog.New(slog.NewJSONHandler(eventWriter{a}, &slog.HandlerOptions{
		ReplaceAttr: func(groups []string, attr slog.Attr) slog.Attr {
			switch {
			case len(groups) > 0:
			case attr.Key == slog.LevelKey:
				return slog.Attr{}
			case attr.Key == slog.MessageKey:
				attr.Key = "event"
			case attr.Key == "event": // of the announce: started, completed, stopped
				attr.Key = "peer_event"
			}
			return attr
		},
	}))
}

// eventWriter writes lines between events.
type eventWriter struct{ app *app }

func (w eventWriter) Write(line []byte) (int, error) {
	w.app.mu.Lock()
	defer w.app.mu.Unlock()
	return w.app.out.Write(line)
}
