//go:build !windows

package reach

import "syscall"

var (
	connRefused     = []syscall.Errno{syscall.ECONNREFUSED}
	connReset       = []syscall.Errno{syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNABORTED}
	hostUnreachable = []syscall.Errno{syscall.EHOSTUNREACH, syscall.EHOSTDOWN}
	netUnreachable  = []syscall.Errno{syscall.ENETUNREACH, syscall.ENETDOWN, syscall.EAFNOSUPPORT}
	timedOut        = []syscall.Errno{syscall.ETIMEDOUT}
	noAddress       = []syscall.Errno{syscall.EADDRNOTAVAIL}
	notPermitted    = []syscall.Errno{syscall.EPERM, syscall.EACCES}
)
