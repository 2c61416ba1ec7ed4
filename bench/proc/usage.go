package proc

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// userHZ is the unit of the times in /proc/PID/stat: 100 per second on every Linux
// that Go runs on (proc(5), sysconf(_SC_CLK_TCK)).
const userHZ = 100

// statFields returns the fields of /proc/PID/stat after the command's name: the first is the
// third of the line.
func statFields(pid int) ([]string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	// The command's name, in parentheses, may hold spaces: count from its end.
	_, rest, _ := strings.Cut(string(b), ") ")
	return strings.Fields(rest), nil
}

// CPU returns the processor time, user and system, that a living process and its
// threads have used so far. Linux only.
func CPU(pid int) (time.Duration, error) {
	f, err := statFields(pid)
	if err != nil {
		return 0, fmt.Errorf("read the processor time of process %d: %w", pid, err)
	}
	const utime, stime = 11, 12 // fields 14 and 15 of the line; the first after the name is 3
	if len(f) <= stime {
		return 0, fmt.Errorf("read the processor time of process %d: %d fields in its stat line, want more than %d", pid, len(f), stime)
	}
	var ticks int64
	for _, s := range []string{f[utime], f[stime]} {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read the processor time of process %d: %w", pid, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / userHZ, nil
}

// RssAnon returns the anonymous memory, in bytes, that a living process holds now:
// its own heaps and stacks, without the page cache of mapped files. Linux only.
func RssAnon(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("read the memory of process %d: %w", pid, err)
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("read the memory of process %d: %w", pid, err)
			}
			return kb << 10, nil
		}
	}
	return 0, fmt.Errorf("read the memory of process %d: it has ended", pid)
}

// CPU returns the processor time, user and system, that the child has used so far,
// also after its end.
func (p *Process) CPU() (time.Duration, error) {
	select {
	case <-p.done:
		s := p.cmd.ProcessState
		return s.UserTime() + s.SystemTime(), nil
	default:
		return CPU(p.PID())
	}
}

// Descendants returns the ids of the living processes below a process, of which the command line
// has that word. Linux only.
func Descendants(pid int, word string) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("look for processes below %d: %w", pid, err)
	}
	parents := map[int]int{}
	for _, e := range entries {
		child, err := strconv.Atoi(e.Name())
		if err != nil {
			continue // no process
		}
		const ppid = 1
		if f, err := statFields(child); err == nil && len(f) > ppid { // else it has ended
			parents[child], _ = strconv.Atoi(f[ppid])
		}
	}
	var found []int
	for child := range parents {
		above := parents[child]
		for above != pid && above != 0 {
			above = parents[above]
		}
		if line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", child)); above == pid && err == nil &&
			slices.Contains(strings.FieldsFunc(string(line), func(r rune) bool { return r == 0 || r == ' ' }), word) {
			found = append(found, child)
		}
	}
	slices.Sort(found)
	return found, nil
}

// Peak samples the anonymous memory of a process until stop is closed and returns
// the most that it saw, in bytes.
func Peak(pid int, stop <-chan struct{}) int64 {
	const every = 20 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	var peak int64
	for {
		if n, err := RssAnon(pid); err == nil {
			peak = max(peak, n)
		}
		select {
		case <-tick.C:
		case <-stop:
			return peak
		}
	}
}
