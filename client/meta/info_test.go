package meta

import (
	"bytes"
	"crypto/sha1"
	"math"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/anacrolix/torrent/bencode"
)

func TestRefusedInfo(t *testing.T) {
	folder := func(files ...any) dict { return dict{"length": nil, "files": files} }
	tests := []struct {
		name string
		raw  []byte
		want string // in the error
	}{
		{"empty", nil, "ends in the middle"},
		{"not bencode", []byte("hello"), "no value starts with 'h'"},
		{"not a dictionary", []byte("le"), "not a dictionary"},
		{"no keys", []byte("de"), "no \"pieces\""},
		{"cut off", infoOf(t, 1, nil)[:20], "where 0 are left"},
		{"trailing garbage", append(infoOf(t, 1, nil), 'x'), "1 bytes follow"},
		{"forged string length", []byte("d4:name99999999999:x"), "longer than what holds it"},
		{"string length without end", []byte("d4:name" + strings.Repeat("9", 1000)), "longer than what holds it"},
		{"string longer than the rest", []byte("d4:name9:x"), "9 bytes is announced where 1 are left"},
		{"key is a number", []byte("di1ei2ee"), "must be a string"},
		{"key without a value", []byte("d4:namee"), "no value"},
		{"no digits", []byte("d6:lengthixee"), "malformed integer"},
		{"a sign amid digits", []byte("d6:lengthi1-1ee"), "malformed integer"},
		{"empty integer", infoOf(t, 1, dict{"length": bencode.Bytes("ie")}), "numeric \"length\""},
		{"beyond 64 bits", infoOf(t, 1, dict{"length": bencode.Bytes("i9223372036854775808e")}), "numeric \"length\""},
		{"integer without end", []byte("d6:lengthi" + strings.Repeat("1", 1000)), "does not end"},
		{"deep lists", []byte("d1:x" + strings.Repeat("l", 1<<20)), "nested deeper"},
		{"deep dictionaries", []byte("d1:x" + strings.Repeat("d1:x", 1<<20)), "nested deeper"},
		{"many keys", []byte("d" + strings.Repeat("1:ai1e", maxKeys+1) + "e"), "keys"},

		{"piece length 0", infoOf(t, 1, dict{"piece length": 0}), "piece length"},
		{"piece length negative", infoOf(t, 1, dict{"piece length": -16384}), "piece length"},
		{"piece length 2^40", infoOf(t, 1, dict{"piece length": 1 << 40}), "piece length"},
		{"piece length a string", infoOf(t, 1, dict{"piece length": "16384"}), "piece length"},
		{"piece length absent", infoOf(t, 1, dict{"piece length": nil}), "absent"},
		{"pieces absent", infoOf(t, 1, dict{"pieces": nil}), "no \"pieces\""},
		{"pieces a number", infoOf(t, 1, dict{"pieces": 20}), "not a string"},
		{"pieces of 21 bytes", infoOf(t, 1, dict{"pieces": strings.Repeat("x", 21)}), "multiple of 20"},
		{"too few pieces", infoOf(t, 1<<20, dict{"pieces": strings.Repeat("x", 20)}), "1 piece hashes"},
		{"too many pieces", infoOf(t, 1, dict{"pieces": strings.Repeat("x", 40)}), "2 piece hashes"},
		{"no pieces", infoOf(t, 1, dict{"pieces": ""}), "0 piece hashes"},
		{"largest length", infoOf(t, 1, dict{"length": int64(math.MaxInt64)}), "1 piece hashes"},
		{"negative length", infoOf(t, 1, dict{"length": -1}), "negative"},
		{"no length", infoOf(t, 1, dict{"length": nil}), "neither"},
		{"no data", infoOf(t, 0, nil), "no data"},
		{"name a number", infoOf(t, 1, dict{"name": 5}), "not a string"},
		{"meta version 3", infoOf(t, 1, dict{"meta version": 3}), "meta version"},
		{"meta version 2 without pieces", infoOf(t, 1, dict{"meta version": 2, "pieces": nil}), "v2-only"},

		{"no files", infoOf(t, 1, folder()), "empty"},
		{"files a string", infoOf(t, 1, dict{"files": "x"}), "not a list"},
		{"file a string", infoOf(t, 1, folder("x")), "not a dictionary"},
		{"file without length", infoOf(t, 1, folder(dict{"path": list{"a"}})), "no numeric \"length\""},
		{"file with negative length", infoOf(t, 1, folder(dict{"path": list{"a"}, "length": -5})), "negative"},
		{"lengths overflow", infoOf(t, 1, folder(
			dict{"path": list{"a"}, "length": int64(math.MaxInt64)},
			dict{"path": list{"b"}, "length": int64(math.MaxInt64)})), "64 bits"},
		{"all files empty", infoOf(t, 1, folder(dict{"path": list{"a"}, "length": 0})), "no data"},
		{"too many files", []byte("d5:filesl" + strings.Repeat("d6:lengthi1e4:pathl1:aee", maxFiles+1) + "e6:pieces0:e"), "files that are allowed"},
		{"too many of one name", []byte("d5:filesl" + strings.Repeat("d6:lengthi1e4:pathl1:aee", maxRenamed+2) + "e6:pieces0:e"), "names that others have too"},
		{"too many folders", manyFolders(maxFolders/50 + 1), "folders that are allowed"},
		{"path a string", infoOf(t, 1, folder(dict{"path": "a", "length": 1})), "not a list"},
		{"path of numbers", infoOf(t, 1, folder(dict{"path": list{1}, "length": 1})), "not a string"},
		{"path absent", infoOf(t, 1, folder(dict{"length": 1})), "not a list"},
		{"path empty", filesOf(t, []string{}), "empty path"},
		{"path too deep", filesOf(t, strings.Split(strings.Repeat("a/", 100), "/")), "components"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			info, err := ParseInfo(test.raw)
			if err == nil {
				t.Fatalf("accepted: %+v", info)
			}
			if !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %q, want one line with %q", err, test.want)
			}
		})
	}
	if _, err := ParseInfo(make([]byte, MaxInfoSize+1)); err == nil {
		t.Error("an info dictionary above the limit was accepted")
	}
}

// manyFolders has 50 folders of its own for each file.
func manyFolders(files int) []byte {
	var b bytes.Buffer
	b.WriteString("d5:filesl")
	for i := range files {
		b.WriteString("d6:lengthi1e4:pathl5:" + strconv.Itoa(10000+i) + strings.Repeat("1:a", 50) + "ee")
	}
	b.WriteString("e4:name1:n12:piece lengthi16384e6:pieces0:e")
	return b.Bytes()
}

func TestUnusualInfoThatIsAccepted(t *testing.T) {
	tests := []struct {
		name string
		raw  []byte
	}{
		{"piece length that is no power of two", infoOf(t, 1, dict{"piece length": 100_003})},
		{"unknown keys of any kind", infoOf(t, 1, dict{"x": list{dict{"y": list{}}, 1, ""}, "zz": dict{}})},
		{"leading zeros", infoOf(t, 1, dict{"length": bencode.Bytes("i0001e"), "piece length": bencode.Bytes("i016384e")})},
		{"negative zero", infoOf(t, 1, dict{"private": bencode.Bytes("i-0e")})},
		{"an integer of no digits, and one beyond 64 bits, that nobody needs", infoOf(t, 1, dict{"private": bencode.Bytes("ie"), "x": bencode.Bytes("i99999999999999999999e")})},
		{"private as text", infoOf(t, 1, dict{"private": "1"})},
		{"source as a number", infoOf(t, 1, dict{"source": 1})},
		{"symbolic link without a length", infoOf(t, 1, dict{"length": nil, "files": list{
			dict{"path": list{"a"}, "length": 1},
			dict{"path": list{"b"}, "attr": "l", "symlink path": list{"..", "..", "etc", "passwd"}}}})},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			info, err := ParseInfo(test.raw)
			if err != nil || info.NumPieces() != 1 || info.PieceSize(0) != 1 || info.Private {
				t.Errorf("%+v, %v", info, err)
			}
		})
	}
}

func TestInfoHashIsOverTheBytesReceived(t *testing.T) {
	raw := []byte("d12:piece lengthi16384e6:pieces20:" + strings.Repeat("x", 20) + "6:lengthi5e4:name1:ae")
	torrent, err := ParseTorrent([]byte("d4:info" + string(raw) + "8:announce1:xe\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	if torrent.Info.InfoHash != sha1.Sum(raw) || !bytes.Equal(torrent.Info.Raw, raw) {
		t.Error("unsorted keys change the infohash")
	}
}

func TestPieces(t *testing.T) {
	hashes := string(bytes.Repeat([]byte{1}, 20)) + string(bytes.Repeat([]byte{2}, 20))
	info, err := ParseInfo(infoOf(t, 16384+5, dict{"pieces": hashes, "private": 1, "source": "tag\x1b[2J"}))
	if err != nil {
		t.Fatal(err)
	}
	if info.PieceSize(0) != 16384 || info.PieceSize(1) != 5 || info.PieceHash(1)[0] != 2 || len(info.PieceHash(0)) != 20 {
		t.Error("wrong pieces")
	}
	if !info.Private || info.Source != "tag [2J" {
		t.Errorf("private %v, source %q", info.Private, info.Source)
	}
}

func TestFileAttributes(t *testing.T) {
	info, err := ParseInfo(infoOf(t, 9, dict{"length": nil, "name.utf-8": "ñ", "files": list{
		dict{"path": list{"run"}, "length": 2, "attr": "x"},
		dict{"path": list{".pad", "3"}, "length": 3, "attr": "p"},
		dict{"path": list{".pad", "3"}, "length": 3, "attr": "p"},
		dict{"path": list{"?"}, "path.utf-8": list{"d", "ä"}, "length": 1},
	}}))
	if err != nil {
		t.Fatal(err)
	}
	if info.Name != "ñ" || !info.Files[0].Executable || !info.Files[1].Pad || info.Files[1].DisplayPath() != info.Files[2].DisplayPath() {
		t.Errorf("%+v", info)
	}
	if last := info.Files[3]; last.Offset != 8 || last.DisplayPath() != "d/ä" {
		t.Errorf("%+v", last)
	}
}

// A torrent of a million files is read in memory that is in proportion to it,
// and names that are alike do not make the work quadratic: it would not end then.
func TestMillionFiles(t *testing.T) {
	for name, test := range map[string]struct {
		count int
		path  func(i int) string
	}{
		"different": {1_000_000, func(i int) string {
			return "5:dir" + strconv.Itoa(10+i%90) + "10:f" + strconv.Itoa(100_000_000+i)
		}},
		"alike": {200_000, func(int) string { return "1:a" }},
		"alike when shortened": {100_000, func(i int) string {
			return "300:" + strings.Repeat("x", 292) + strconv.Itoa(10_000_000+i%1000)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var raw bytes.Buffer
			raw.WriteString("d5:filesl")
			for i := range test.count {
				raw.WriteString("d6:lengthi1e4:pathl" + test.path(i) + "ee")
			}
			raw.WriteString("e4:name1:n12:piece lengthi16777216e6:pieces20:" + strings.Repeat("x", 20) + "e")
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			info, err := ParseInfo(raw.Bytes())
			elapsed := time.Since(start)
			if err != nil {
				t.Fatal(err)
			}
			runtime.ReadMemStats(&after)
			allocated := after.TotalAlloc - before.TotalAlloc
			t.Logf("%d files, %d MB: %v, %d MB allocated", test.count, raw.Len()>>20, elapsed, allocated>>20)
			if allocated > 1<<30 || len(info.Files) != test.count {
				t.Errorf("%d MB are too much", allocated>>20)
			}
		})
	}
}
