package stream

import (
	"strconv"
	"strings"
)

const (
	// maxRanges bounds the parts of a multipart answer. RFC 9110 §14.2 lets a
	// server ignore the ranges of a client that asks for more.
	maxRanges = 32
	// hugePosition stands for positions that overflow: beyond any file, and
	// small enough to be added to.
	hugePosition = "999999999999999999"
)

// normalizeRange rewrites a Range header into what http.ServeContent reads as RFC
// 9110 §14 means it, or returns "" if the header must or may be ignored. Left
// alone, ServeContent rejects units that it does not know (they must be ignored,
// §14.2), tells "Bytes" from "bytes" (§14.1), takes a suffix of no bytes, which is
// unsatisfiable (§14.1.2), for an empty range, rejects positions of more than
// 63 bits, and makes as many parts as it is asked for.
func normalizeRange(header string, size int64) string {
	unit, set, ok := strings.Cut(header, "=")
	if !ok || !strings.EqualFold(strings.TrimSpace(unit), "bytes") {
		return ""
	}
	var specs []string
	dropped := false
	for spec := range strings.SplitSeq(set, ",") {
		spec = strings.Trim(spec, " \t")
		if spec == "" {
			continue
		}
		first, last, ok := strings.Cut(spec, "-")
		first, last = strings.TrimSpace(first), strings.TrimSpace(last)
		if !ok || !isDigits(first) || !isDigits(last) || first+last == "" {
			return "bytes=invalid" // ServeContent answers 416
		}
		first, last = clamp(first), clamp(last)
		if first == "" && strings.Trim(last, "0") == "" {
			dropped = true
			continue
		}
		specs = append(specs, first+"-"+last)
	}
	switch {
	case len(specs) > maxRanges:
		return ""
	case len(specs) == 0 && dropped:
		return "bytes=" + strconv.FormatInt(size, 10) + "-" // unsatisfiable
	case len(specs) == 0:
		return "bytes=invalid"
	}
	return "bytes=" + strings.Join(specs, ", ")
}

func isDigits(s string) bool { return strings.Trim(s, "0123456789") == "" }

func clamp(digits string) string {
	if len(strings.TrimLeft(digits, "0")) > len(hugePosition) {
		return hugePosition
	}
	return digits
}
