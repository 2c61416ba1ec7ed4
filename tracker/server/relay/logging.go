package relay

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/pion/logging"
)

// pionLog feeds pion's loggers into slog. All of it is debug level: what pion
// calls an error (a client that sends nonsense) is everyday life here.
type pionLog struct {
	logger *slog.Logger
	scope  string
}

func (l pionLog) NewLogger(scope string) logging.LeveledLogger {
	return pionLog{logger: l.logger, scope: scope}
}

func (l pionLog) log(severity, msg string) {
	l.logger.LogAttrs(context.Background(), slog.LevelDebug, msg,
		slog.String("pion", l.scope), slog.String("severity", severity))
}

func (l pionLog) logf(severity, format string, args []any) {
	if l.logger.Enabled(context.Background(), slog.LevelDebug) {
		l.log(severity, fmt.Sprintf(format, args...))
	}
}

// Trace, debug and info of pion describe single packets and are dropped.

func (l pionLog) Trace(string)          {}
func (l pionLog) Tracef(string, ...any) {}
func (l pionLog) Debug(string)          {}
func (l pionLog) Debugf(string, ...any) {}
func (l pionLog) Info(string)           {}
func (l pionLog) Infof(string, ...any)  {}

func (l pionLog) Warn(msg string)                   { l.log("warn", msg) }
func (l pionLog) Warnf(format string, args ...any)  { l.logf("warn", format, args) }
func (l pionLog) Error(msg string)                  { l.log("error", msg) }
func (l pionLog) Errorf(format string, args ...any) { l.logf("error", format, args) }
