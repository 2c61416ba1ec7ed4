package meta

import (
	"errors"
	"strings"
	"testing"
)

func TestParseSelection(t *testing.T) {
	info, err := ParseInfo(infoOf(t, 8, dict{"length": nil, "files": list{
		dict{"path": list{"a.mkv"}, "length": 1},
		dict{"path": list{"a.srt"}, "length": 1},
		dict{"path": list{".pad", "1"}, "length": 1, "attr": "p"},
		dict{"path": list{"Extras", "b.mkv"}, "length": 1},
		dict{"path": list{"Extras", "deep", "c.txt"}, "length": 1},
		dict{"path": list{"Extras 2", "d.mkv"}, "length": 1},
		dict{"path": list{"x, [y].txt"}, "length": 1},
		dict{"path": list{"7"}, "length": 1},
	}}))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ list, want, fails string }{
		{list: "", want: "11011111"},
		{list: "0", want: "10000000"},
		{list: "0,3-4", want: "10011000"},
		{list: " 0 , 1 ,", want: "11000000"},
		{list: "0-7", want: "11011111"},
		{list: "0-5,1-3,3", want: "11011100"},
		{list: "*.mkv", want: "10010100"},
		{list: "Extras/", want: "00011000"},
		{list: "Extras*/", want: "00011100"},
		{list: "Extras/deep/", want: "00001000"},
		{list: "Extras/*.mkv", want: "00010000"},
		{list: "*/b.mkv,7", want: "00010001"},
		{list: `x\, [y].txt`, want: "00000010"},
		{list: "a.???", want: "11000000"},
		{list: "2", fails: "matches no file"},
		{list: ",,", fails: "matches no file"},
		{list: "8", fails: "files 0 to 7"},
		{list: "3-1", fails: "files 0 to 7"},
		{list: "0-99999999999999999999", fails: "files 0 to 7"},
		{list: "*.mkv,*.iso", fails: `"*.iso"`},
		{list: "nothing/", fails: "matches no file"},
		{list: "[", fails: "malformed"},
		{list: strings.Repeat("*,", maxPatterns+1), fails: "patterns"},
	} {
		wanted, err := ParseSelection(test.list, info)
		if test.fails != "" {
			var usage *UsageError
			if !errors.As(err, &usage) || !strings.Contains(err.Error(), test.fails) {
				t.Errorf("%.40q: got %v, want %q", test.list, err, test.fails)
			}
			continue
		}
		got := ""
		for _, want := range wanted {
			got += map[bool]string{true: "1", false: "0"}[want]
		}
		if err != nil || got != test.want {
			t.Errorf("%q: got %s, %v, want %s", test.list, got, err, test.want)
		}
	}
}
