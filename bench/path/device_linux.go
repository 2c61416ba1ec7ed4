package path

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// tap is the other side of a host's network device.
type tap struct {
	file *os.File
	fd   int
}

// openTAP makes a TAP device in the namespace of the calling thread. It is gone once closed.
func openTAP(name string) (*tap, error) {
	file, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	request, err := unix.NewIfreq(name)
	if err == nil {
		request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(int(file.Fd()), unix.TUNSETIFF, request)
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("make a TAP device: %w", err)
	}
	return &tap{file: file}, nil
}

// adoptTAP takes over a device that another process has made.
func adoptTAP(fd int) (*tap, error) {
	return &tap{fd: fd}, unix.SetNonblock(fd, true)
}

func (t *tap) close() { t.file.Close() }

// Packets are moved, and naps taken, by system calls that Go's scheduler hears nothing of: to
// find the thread in one after the other cost it a quarter of all that the forwarder took.

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

// hurry lets the process run before others: what it does late, the measured programs do late.
// Priority by nice would count only among the processes of a session (autogroups of sched(7)).
// One more than the least, so that the measured programs can be given that (chrt -r 1).
func hurry() {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return
	}
	first := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 2}
	for _, t := range threads { // those to come have it of these
		if id, err := strconv.Atoi(t.Name()); err == nil {
			_ = unix.SchedSetAttr(id, &first, 0) // without, it is as late as any
		}
	}
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
