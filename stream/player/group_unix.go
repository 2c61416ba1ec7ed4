//go:build !windows

package player

import (
	"os/exec"
	"syscall"
)

// group is a player's process group: players, and scripts that start them,
// start programs of their own.
type group struct{ cmd *exec.Cmd }

func newGroup(cmd *exec.Cmd) *group {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return &group{cmd}
}

// started has nothing to do: the group begins with the process.
func (g *group) started() error { return nil }

// end asks the group to end.
func (g *group) end() error { return syscall.Kill(-g.cmd.Process.Pid, syscall.SIGTERM) }

// kill ends what is left of the group. An id that is gone, or was never a
// group's, is no error worth telling.
func (g *group) kill() { _ = syscall.Kill(-g.cmd.Process.Pid, syscall.SIGKILL) }
