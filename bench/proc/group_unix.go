//go:build unix

package proc

import (
	"os/exec"
	"runtime"
	"syscall"
)

func terminate(cmd *exec.Cmd) error { return cmd.Process.Signal(syscall.SIGTERM) }

// killGroup ends the child and whatever it started. The group is the child's own
// (Setpgid), so nobody else is in it; a group that is gone is no error.
func killGroup(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }

// PeakMemory returns the most resident memory, in bytes, that a child had which has
// ended; 0 where the system does not tell.
func (p *Process) PeakMemory() int64 {
	usage, ok := p.cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok || runtime.GOOS != "linux" {
		return 0 // ru_maxrss is in KiB on Linux, in other units elsewhere
	}
	return int64(usage.Maxrss) << 10 //nolint:unconvert // 32 bits on some systems
}
