package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// table prints rows as Markdown with aligned columns, the first to the left.
func table(w io.Writer, title string, rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, r := range rows {
		for i, cell := range r {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	fmt.Fprintf(w, "\n## %s\n\n", title)
	for n, r := range rows {
		for i, cell := range r {
			pad := strings.Repeat(" ", widths[i]-len([]rune(cell)))
			if i == 0 {
				fmt.Fprint(w, "| ", cell, pad, " ")
			} else {
				fmt.Fprint(w, "| ", pad, cell, " ")
			}
		}
		fmt.Fprintln(w, "|")
		if n > 0 {
			continue
		}
		for i, width := range widths {
			if i == 0 {
				fmt.Fprint(w, "|", strings.Repeat("-", width+2))
			} else {
				fmt.Fprint(w, "|", strings.Repeat("-", width+1), ":")
			}
		}
		fmt.Fprintln(w, "|")
	}
}

// median returns the middle value, the mean of the two in the middle for an even
// number, 0 for none.
func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	n := len(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}

// spread formats the range of the runs, so that a median can be judged.
func spread(v []float64, format string) string {
	if len(v) == 0 {
		return ""
	}
	return fmt.Sprintf(format+" - "+format, slices.Min(v), slices.Max(v))
}

func mib(bytes float64) string { return fmt.Sprintf("%.0f MiB", bytes/(1<<20)) }

// machine describes what the figures depend on most.
func machine() string {
	model := runtime.GOARCH
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
				model = strings.TrimSpace(v)
				break
			}
		}
	}
	return fmt.Sprintf("%d x %s, %s, %s", runtime.NumCPU(), model, runtime.Version(), time.Now().UTC().Format(time.DateOnly))
}
