package netns

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Do calls f on a thread inside of the namespace. Sockets that f opens stay there. f must
// not leave it to goroutines to open them, as a Dialer does for a name.
func (h *Host) Do(f func()) {
	h.world.t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		done <- h.enter(f)
	}()
	if err := <-done; err != nil {
		h.world.t.Fatal(err)
	}
}

func (h *Host) enter(f func()) error {
	space, err := os.Open("/run/netns/" + h.Name)
	if err != nil {
		return fmt.Errorf("enter a network namespace: %w", err)
	}
	defer space.Close()
	if err := unix.Setns(int(space.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace %s: %w", h.Name, err)
	}
	f()
	return nil
}
