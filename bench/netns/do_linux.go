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
	go func() { done <- h.enter(f) }()
	if err := <-done; err != nil {
		h.world.t.Fatal(err)
	}
}

// enter brings the thread back in the end: it must not be given up, since programs that were
// started from it may be told to end with it (PR_SET_PDEATHSIG).
func (h *Host) enter(f func()) error {
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return fmt.Errorf("leave a network namespace: %w", err)
	}
	defer home.Close()
	space, err := os.Open("/run/netns/" + h.Name)
	if err != nil {
		return fmt.Errorf("enter a network namespace: %w", err)
	}
	defer space.Close()
	if err := unix.Setns(int(space.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace %s: %w", h.Name, err)
	}
	f()
	if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("come back from network namespace %s: %w", h.Name, err) // and the thread ends with the goroutine
	}
	runtime.UnlockOSThread()
	return nil
}
