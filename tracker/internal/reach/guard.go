package reach

import (
	"fmt"
	"log/slog"
	"runtime/debug"
)

// Guard runs f, which touches what came from outside. A panic in it is a bug, which
// ends f and is logged with its stack; it is returned as an error.
func Guard(log *slog.Logger, what string, f func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			log.Error("panic, please report it", "in", what, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("a fault of this program (please report it): %v", p)
		}
	}()
	f()
	return nil
}
