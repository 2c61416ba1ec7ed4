package path

import (
	"bufio"
	"bytes"
	"errors"
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

// hurry lets the calling thread run before others, and its timers be exact, until it is told
// to calm down: what it does late, the measured programs do late.
func hurry() (calm func()) {
	const (
		highest, usual = -20, 0
		exact, system  = 1, 0 // in nanoseconds; the system's is 50 µs
	)
	set := func(priority int, slack uintptr) {
		_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), priority)
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, slack, 0, 0, 0)
	}
	set(highest, exact)
	return func() { set(usual, system) }
}

// within runs f on a thread that is in a network namespace meanwhile. The thread does not end
// then: that would end the programs which it has started before (PR_SET_PDEATHSIG).
func within(name string, f func() error) (err error) {
	runtime.LockOSThread()
	home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter network namespace %s: %w", name, err)
	}
	defer unix.Close(home)
	there, err := unix.Open("/run/netns/"+name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		defer unix.Close(there)
		err = unix.Setns(there, unix.CLONE_NEWNET)
	}
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter network namespace %s: %w", name, err)
	}
	defer func() {
		if back := unix.Setns(home, unix.CLONE_NEWNET); back != nil {
			err = errors.Join(err, fmt.Errorf("leave network namespace %s: %w", name, back))
			return // and the thread is nobody else's
		}
		runtime.UnlockOSThread()
	}()
	return f()
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
