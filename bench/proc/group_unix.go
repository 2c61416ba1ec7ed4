//go:build unix

package proc

import (
	"os/exec"
	"syscall"
)

func terminate(cmd *exec.Cmd) error { return cmd.Process.Signal(syscall.SIGTERM) }

// killGroup ends the child and whatever it started. The group is the child's own
// (Setpgid), so nobody else is in it; a group that is gone is no error.
func killGroup(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }

// Freeze stops a process, all of its threads, until Thaw (SIGSTOP).
func Freeze(pid int) error { return syscall.Kill(pid, syscall.SIGSTOP) }

// Thaw has a frozen process run on (SIGCONT).
func Thaw(pid int) error { return syscall.Kill(pid, syscall.SIGCONT) }
