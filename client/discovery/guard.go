package discovery

import (
	"log/slog"
	"runtime/debug"
)

// guard keeps a panic over what a stranger sent from ending the program: it ends what was
// being done with it and is logged, as the bug it is.
type guard struct{ log *slog.Logger }

func (g guard) run(doing string, f func()) {
	defer func() {
		if r := recover(); r != nil {
			g.log.Error("panic", "doing", doing, "panic", r, "stack", string(debug.Stack()))
		}
	}()
	f()
}
