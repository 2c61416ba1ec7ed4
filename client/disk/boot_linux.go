package disk

import (
	"os"
	"strings"
	"sync"
)

// BootID names the current run of the operating system. What was written in it,
// synced or not, is still there as long as it runs.
var BootID = sync.OnceValue(func() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b))
})
