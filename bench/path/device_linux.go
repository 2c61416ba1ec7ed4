package path

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// tap is the other side of a host's network device.
type tap struct{ fd int }

// openTAP makes a TAP device in the namespace of the calling thread. It is gone once closed.
func openTAP(name string) (*tap, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	request, err := unix.NewIfreq(name)
	if err == nil {
		request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("make a TAP device: %w", err)
	}
	return &tap{fd: fd}, nil
}

func (t *tap) close() { unix.Close(t.fd) }

// Packets are moved, and naps taken, by system calls that Go's scheduler hears nothing of: to
// find the thread in one after the other cost it a quarter of all that the forwarder took. So
// the forwarder keeps one of Go's processors while it is busy; see spare.

// read returns the length of a packet, or 0 if there is none.
func (t *tap) read(b []byte) int {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(t.fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	if errno != 0 {
		return 0
	}
	return int(n)
}

// write gives the host a packet. It is lost where the host has no room, as with any device.
func (t *tap) write(b []byte) {
	_, _, _ = unix.RawSyscall(unix.SYS_WRITE, uintptr(t.fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
}

func nap(d time.Duration) {
	span := unix.NsecToTimespec(int64(d))
	_, _, _ = unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&span)), 0, 0)
}

// await returns when a packet has come from one of two devices, or after a time.
func await(timeout time.Duration, a, b *tap) {
	until := unix.NsecToTimespec(max(0, int64(timeout)))
	_, _ = unix.Ppoll([]unix.PollFd{{Fd: int32(a.fd), Events: unix.POLLIN}, {Fd: int32(b.fd), Events: unix.POLLIN}}, &until, nil)
}

// hurry lets the calling thread run before others, and its timers be exact: what it does
// late, the measured programs do late.
func hurry() {
	const highest, exact = -20, 1 // exact in nanoseconds; by default it is 50 µs
	_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), highest)
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, exact, 0, 0, 0)
}

// within runs f on a thread of its own in a network namespace.
func within(name string, f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocks: the thread ends, and nobody else finds itself there
		result <- func() error {
			fd, err := unix.Open("/run/netns/"+name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return fmt.Errorf("enter network namespace %s: %w", name, err)
			}
			defer unix.Close(fd)
			if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("enter network namespace %s: %w", name, err)
			}
			return f()
		}()
	}()
	return <-result
}

// dropped returns how many packets a device of the calling thread's namespace has not sent.
func dropped(device string) (int64, error) {
	stats, err := os.ReadFile("/proc/thread-self/net/dev")
	if err != nil {
		return 0, err
	}
	for lines := bufio.NewScanner(bytes.NewReader(stats)); lines.Scan(); {
		name, numbers, _ := strings.Cut(lines.Text(), ":")
		const column = 11 // eight of what was received, then bytes, packets, errors, drops
		if fields := strings.Fields(numbers); strings.TrimSpace(name) == device && len(fields) > column {
			return strconv.ParseInt(fields[column], 10, 64)
		}
	}
	return 0, fmt.Errorf("there is no %s", device)
}

func setCongestion(fd uintptr, name string) error {
	if err := unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, name); err != nil {
		return fmt.Errorf("choose congestion control %s: %w", name, err)
	}
	return nil
}

// Congestion returns the name of the system's congestion control for TCP, which a host
// begins with, too.
func Congestion() (string, error) {
	b, err := os.ReadFile("/proc/sys/net/ipv4/tcp_congestion_control")
	return strings.TrimSpace(string(b)), err
}
