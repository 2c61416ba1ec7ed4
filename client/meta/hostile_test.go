package meta

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

// hostileInfos are info dictionaries that make a parser work hard, by what is hard about them.
func hostileInfos(size int) map[string][]byte {
	files := func(path func(i int) string) []byte {
		var b bytes.Buffer
		b.WriteString("d5:filesl")
		for i := 0; b.Len() < size; i++ {
			b.WriteString("d6:lengthi1e4:pathl")
			b.WriteString(path(i))
			b.WriteString("ee")
		}
		b.WriteString("e4:name1:n12:piece lengthi268435456e6:pieces20:" + strings.Repeat("x", 20) + "e")
		return b.Bytes()
	}
	str := func(s string) string { return fmt.Sprintf("%d:%s", len(s), s) }
	tail := "12:piece lengthi16384e6:pieces20:" + strings.Repeat("x", 20) + "e"
	return map[string][]byte{
		"different":     files(func(i int) string { return str(fmt.Sprintf("dir%d", i/100)) + str(fmt.Sprint("file", i)) }),
		"deep":          files(func(i int) string { return str(fmt.Sprint(i)) + strings.Repeat("1:a", 60) }),
		"deep equal":    files(func(i int) string { return strings.Repeat("1:a", 62) }),
		"deep variants": files(func(i int) string { return strings.Repeat(str(string(rune('a'-32*(i%2)))), 62) }),
		"equal":         files(func(i int) string { return "1:a" }),
		"equal short":   files(func(i int) string { return str(strings.Repeat("x", 300) + fmt.Sprint(i)) }),
		"weird":         files(func(i int) string { return str("a?" + fmt.Sprint(i)) }),
		"variants": files(func(i int) string {
			b := []byte("abcdefghijklmnopqrstuvwxyz")
			for j := range b {
				if i>>j&1 == 1 {
					b[j] -= 32
				}
			}
			return str(string(b))
		}),
		"unicode":     files(func(i int) string { return str(strings.Repeat("é", 60) + fmt.Sprint(i)) }),
		"combining":   files(func(i int) string { return str("e" + strings.Repeat("\u0301\u0323", 2000) + fmt.Sprint(i)) }),
		"long name":   []byte("d6:lengthi1e4:name" + str(strings.Repeat("a?", size/2)) + tail),
		"slashes":     []byte("d6:lengthi1e4:name" + str(strings.Repeat("/", size)) + tail),
		"blanks":      []byte("d6:lengthi1e4:name" + str("a"+strings.Repeat(" .", size/2)+"b") + tail),
		"comb name":   []byte("d6:lengthi1e4:name" + str("e"+strings.Repeat("\u0301", size/2)) + tail),
		"long string": []byte("d1:a" + str(strings.Repeat("a", size)) + "6:lengthi1e4:name1:n" + tail),
		"lists":       []byte("d1:a" + strings.Repeat(strings.Repeat("l", 100)+strings.Repeat("e", 100), size/200) + "6:lengthi1e4:name1:n" + tail),
		"empty lists": []byte("d1:al" + strings.Repeat("le", size/2) + "e6:lengthi1e4:name1:n" + tail),
		"keys":        []byte("d" + strings.Repeat("1:ai1e", size/6) + "6:lengthi1e4:name1:n" + tail),
		"empty files": []byte("d5:filesl" + strings.Repeat("de", size/2) + "e4:name1:n" + tail),
		"pieces":      []byte("d6:lengthi" + fmt.Sprint(int64(size/20)*16384) + "e4:name1:n12:piece lengthi16384e6:pieces" + str(strings.Repeat("x", size/20*20)) + "e"),
	}
}

// An info dictionary takes a time in proportion to its size, whatever is in it: at a
// thirty-second of what peers may send, none of these comes near the bound.
func TestHostileInfosTakeLinearTime(t *testing.T) {
	const bound = 20 * time.Second // with the race detector, on a busy machine
	for name, raw := range hostileInfos(MaxInfoSize / 32) {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, err := ParseInfo(raw)
			elapsed := time.Since(start)
			t.Logf("%v, %.80v", elapsed, err)
			if elapsed > bound {
				t.Errorf("%d bytes took %v", len(raw), elapsed)
			}
		})
	}
}

func BenchmarkHostileInfos(b *testing.B) {
	for name, raw := range hostileInfos(51 << 20) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(raw)))
			for b.Loop() {
				_, _ = ParseInfo(raw)
			}
		})
	}
}
