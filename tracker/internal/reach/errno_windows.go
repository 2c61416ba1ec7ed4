package reach

import "syscall"

// Windows has numbers of its own for what its sockets say (winsock2.h), beside those
// that package syscall makes up.
var (
	connRefused     = []syscall.Errno{10061, syscall.ECONNREFUSED}
	connReset       = []syscall.Errno{10053, 10054, syscall.ECONNRESET, syscall.EPIPE}
	hostUnreachable = []syscall.Errno{10064, 10065, syscall.EHOSTUNREACH}
	netUnreachable  = []syscall.Errno{10050, 10051, 10047, syscall.ENETUNREACH}
	timedOut        = []syscall.Errno{10060, syscall.ETIMEDOUT}
	noAddress       = []syscall.Errno{10049, syscall.EADDRNOTAVAIL}
	notPermitted    = []syscall.Errno{10013, syscall.EACCES}
)
