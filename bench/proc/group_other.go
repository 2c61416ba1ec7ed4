//go:build !unix

package proc

import (
	"errors"
	"os/exec"
)

func ownGroup(*exec.Cmd) {}

func terminate(cmd *exec.Cmd) error { return cmd.Process.Kill() }

func killGroup(cmd *exec.Cmd) { _ = cmd.Process.Kill() }

// Freeze fails: there is nothing like SIGSTOP.
func Freeze(int) error { return errors.ErrUnsupported }

// Thaw fails likewise.
func Thaw(int) error { return errors.ErrUnsupported }
