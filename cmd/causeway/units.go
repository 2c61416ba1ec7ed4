package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// byteSize is a flag: a number of bytes, or bytes per second, with an optional
// unit. K, M, G and T are powers of 1024.
type byteSize int64

func (s *byteSize) Set(text string) error {
	n, err := parseSize(text)
	*s = byteSize(n)
	return err
}

func (s *byteSize) String() string {
	if *s == 0 {
		return "none"
	}
	return strconv.FormatInt(int64(*s), 10)
}

func (s *byteSize) Type() string { return "SIZE" }

func parseSize(text string) (int64, error) {
	const units = "KMGT"
	bad := fmt.Errorf("%q is not a size; write bytes or a number with a unit, such as 500K or 2M", text)
	number := strings.ToUpper(strings.TrimSpace(text))
	if number == "NONE" {
		return 0, nil
	}
	number = strings.TrimSuffix(strings.TrimSuffix(number, "B"), "I")
	factor := 1.0
	if number != "" {
		if unit := strings.IndexByte(units, number[len(number)-1]); unit >= 0 {
			number = strings.TrimSpace(number[:len(number)-1])
			factor = math.Pow(1024, float64(unit+1))
		}
	}
	if strings.Trim(number, "0123456789.") != "" {
		return 0, bad
	}
	value, err := strconv.ParseFloat(number, 64)
	if err != nil || value*factor >= math.MaxInt64 {
		return 0, bad
	}
	return int64(value * factor), nil
}

func formatBytes(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }

func formatRate(bytesPerSecond float64) string {
	return formatBytes(int64(bytesPerSecond)) + "/s"
}

// formatPercent never rounds up to 100 %.
func formatPercent(part, whole int64) string {
	if whole <= 0 {
		return "100 %"
	}
	return fmt.Sprintf("%.1f %%", math.Floor(1000*float64(part)/float64(whole))/10)
}

func formatDuration(d time.Duration) string {
	if d < 0 {
		return "unknown"
	}
	precision := time.Second
	if d < 10*time.Second {
		precision = 100 * time.Millisecond
	}
	return d.Round(precision).String()
}
