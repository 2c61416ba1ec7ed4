package proc

import (
	"os/exec"
	"syscall"
)

// ownGroup puts the child in a process group of its own and has the kernel kill it
// when this process dies, even by SIGKILL or a test timeout.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
