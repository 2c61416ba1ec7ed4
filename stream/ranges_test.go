package stream_test

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/stream"
)

// rangeCases ask for ranges of a file of 1000 bytes. want is what RFC 9110 §14
// calls for: the ranges served as "first-last", "" for the whole file, or "416".
var rangeCases = []struct{ name, header, want string }{
	{"no header", "", ""},
	{"first byte", "bytes=0-0", "0-0"},
	{"last byte", "bytes=999-999", "999-999"},
	{"last byte, open", "bytes=999-", "999-999"},
	{"everything, closed", "bytes=0-999", "0-999"},
	{"everything, open", "bytes=0-", "0-999"},
	{"middle", "bytes=100-199", "100-199"},
	{"open", "bytes=500-", "500-999"},
	{"end beyond the file", "bytes=500-5000", "500-999"},
	{"end at the length", "bytes=500-1000", "500-999"},
	{"end of 19 digits", "bytes=500-9223372036854775807", "500-999"},
	{"end of 30 digits", "bytes=500-999999999999999999999999999999", "500-999"},
	{"suffix", "bytes=-100", "900-999"},
	{"suffix of one", "bytes=-1", "999-999"},
	{"suffix of all", "bytes=-1000", "0-999"},
	{"suffix beyond the start", "bytes=-5000", "0-999"},
	{"suffix of 30 digits", "bytes=-999999999999999999999999999999", "0-999"},
	{"suffix of nothing", "bytes=-0", "416"},
	{"suffix of nothing, long", "bytes=-000", "416"},
	{"start at the length", "bytes=1000-", "416"},
	{"start beyond", "bytes=2000-3000", "416"},
	{"start of 30 digits", "bytes=999999999999999999999999999999-", "416"},
	{"leading zeros", "bytes=0000-0009", "0-9"},
	{"two", "bytes=0-9,20-29", "0-9 20-29"},
	{"two with blanks", "bytes= 0-9 , 20-29 ", "0-9 20-29"},
	{"two with tabs", "bytes=0-9,\t20-29", "0-9 20-29"},
	{"three, one a suffix", "bytes=0-0,500-509,-10", "0-0 500-509 990-999"},
	{"out of order", "bytes=20-29,0-9", "20-29 0-9"},
	{"overlapping", "bytes=0-19,10-29", "0-19 10-29"},
	{"one of two unsatisfiable", "bytes=0-9,2000-", "0-9"},
	{"one of two an empty suffix", "bytes=0-9,-0", "0-9"},
	{"all unsatisfiable", "bytes=1000-,2000-", "416"},
	{"empty list elements", "bytes=,0-9,,", "0-9"},
	{"more than the file altogether", "bytes=0-,0-,0-", ""},
	{"too many", "bytes=" + strings.Repeat("0-0,", 33), ""},
	{"as many as allowed", "bytes=0-0" + strings.Repeat(",5-5", 31), "0-0" + strings.Repeat(" 5-5", 31)},
	{"unit in capitals", "Bytes=0-9", "0-9"},
	{"unknown unit", "items=0-9", ""},
	{"no unit", "0-9", ""},
	{"empty unit", "=0-9", ""},
	{"backwards", "bytes=9-0", "416"},
	{"no number", "bytes=-", "416"},
	{"empty set", "bytes=", "416"},
	{"only commas", "bytes=,,", "416"},
	{"letters", "bytes=a-b", "416"},
	{"no dash", "bytes=10", "416"},
	{"double dash", "bytes=1--2", "416"},
	{"negative start", "bytes=-5-9", "416"},
	{"plus sign", "bytes=+0-9", "416"},
	{"hexadecimal", "bytes=0x0-0x9", "416"},
	{"blank inside a number", "bytes=1 0-20", "416"},
}

func TestRangesAsRFC9110(t *testing.T) {
	data := randomBytes(1000)
	inMemory, onDisk := newFile("m.mp4", data).complete(), newFile("d.mp4", data).complete().onDisk(t)
	_, base := serve(t, stream.Config{}, newTorrent(inMemory, onDisk))
	for _, tc := range rangeCases {
		for _, index := range []int{0, 1} {
			t.Run(fmt.Sprint(tc.name, index), func(t *testing.T) {
				headers := []string{"Range", tc.header}
				if tc.header == "" {
					headers = nil
				}
				res := do(t, http.MethodGet, fmt.Sprint(base, "/t/", fakeHash, "/", index), headers...)
				checkRanges(t, res, data, tc.want)
			})
		}
	}
}

func checkRanges(t *testing.T, res *http.Response, data []byte, want string) {
	t.Helper()
	body := []byte(bodyOf(t, res))
	ranges := strings.Fields(want)
	contentRange := res.Header.Get("Content-Range")
	switch {
	case want == "416":
		if res.StatusCode != http.StatusRequestedRangeNotSatisfiable {
			t.Fatalf("got %s, want 416", res.Status)
		}
	case len(ranges) == 0:
		if res.StatusCode != http.StatusOK || !bytes.Equal(body, data) || contentRange != "" {
			t.Fatalf("got %s, %d bytes, want 200 and all of the file", res.Status, len(body))
		}
	case len(ranges) == 1:
		if res.StatusCode != http.StatusPartialContent {
			t.Fatalf("got %s, want 206", res.Status)
		}
		checkPart(t, body, contentRange, data, ranges[0])
		if res.ContentLength != int64(len(body)) {
			t.Errorf("Content-Length %d for %d bytes", res.ContentLength, len(body))
		}
	default:
		kind, params, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
		if err != nil || kind != "multipart/byteranges" || res.StatusCode != http.StatusPartialContent {
			t.Fatalf("got %s, %s, %v", res.Status, kind, err)
		}
		parts := multipart.NewReader(bytes.NewReader(body), params["boundary"])
		for _, r := range ranges {
			part, err := parts.NextPart()
			if err != nil {
				t.Fatal(err)
			}
			content, err := io.ReadAll(part)
			if err != nil {
				t.Fatal(err)
			}
			checkPart(t, content, part.Header.Get("Content-Range"), data, r)
			if got := part.Header.Get("Content-Type"); got != "video/mp4" {
				t.Errorf("part is %q", got)
			}
		}
		if _, err := parts.NextPart(); err != io.EOF {
			t.Errorf("more parts than asked for: %v", err)
		}
	}
}

func checkPart(t *testing.T, got []byte, contentRange string, data []byte, want string) {
	t.Helper()
	var first, last int
	if _, err := fmt.Sscanf(want, "%d-%d", &first, &last); err != nil {
		t.Fatal(err)
	}
	if header := fmt.Sprintf("bytes %s/%d", want, len(data)); contentRange != header {
		t.Errorf("Content-Range %q, want %q", contentRange, header)
	}
	if !bytes.Equal(got, data[first:last+1]) {
		t.Errorf("wrong bytes for %s: %d of them", want, len(got))
	}
}

func TestUnsatisfiableRangeTellsTheLength(t *testing.T) {
	_, base := serve(t, stream.Config{}, newTorrent(newFile("a.mp4", make([]byte, 1000)).complete()))
	for _, header := range []string{"bytes=1000-", "bytes=-0", "bytes=99999999999999999999-"} {
		res := do(t, http.MethodGet, base+"/t/"+fakeHash+"/0", "Range", header)
		if got := res.Header.Get("Content-Range"); res.StatusCode != 416 || got != "bytes */1000" {
			t.Errorf("%s: %s, Content-Range %q", header, res.Status, got)
		}
	}
}

// TestSameAnswersAsServeContent compares complete files with net/http's own server.
func TestSameAnswersAsServeContent(t *testing.T) {
	mod := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	etag := `"` + fakeHash + `-0"`
	for _, length := range []int{0, 1, 1000, 200_000} {
		data := randomBytes(length)
		reference := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", etag)
			w.Header().Set("Content-Type", "video/mp4")
			http.ServeContent(w, r, "", mod, bytes.NewReader(data))
		}))
		defer reference.Close()
		file := newFile("a.mp4", data).complete()
		if length > 1000 {
			file.onDisk(t)
		}
		file.mod = mod
		_, base := serve(t, stream.Config{}, newTorrent(file))
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			for _, set := range sharedRanges {
				for _, cond := range conditions(etag, mod) {
					headers := append([]string{"Range", set}, cond...)
					if set == "" {
						headers = cond
					}
					got := do(t, method, base+"/t/"+fakeHash+"/0", headers...)
					want := do(t, method, reference.URL, headers...)
					compare(t, fmt.Sprint(length, " ", method, " ", headers), got, want)
				}
			}
		}
	}
}

// sharedRanges are those that ServeContent reads as RFC 9110 has it.
var sharedRanges = []string{"", "bytes=0-0", "bytes=0-", "bytes=5-9", "bytes=-1", "bytes=-400", "bytes=0-9,50-59",
	"bytes=999-", "bytes=1000-", "bytes=0-999", "bytes=900-100000", "bytes=65000-70000", "bytes=a", "bytes=9-1",
	"bytes=0-,0-", "bytes=0-9,5000000-"}

func conditions(etag string, mod time.Time) [][]string {
	at := func(d time.Duration) string { return mod.Add(d).Format(http.TimeFormat) }
	return [][]string{
		nil,
		{"If-Range", etag},
		{"If-Range", `"other"`},
		{"If-Range", "W/" + etag},
		{"If-Range", at(0)},
		{"If-Range", at(time.Hour)},
		{"If-Range", "nonsense"},
		{"If-None-Match", etag},
		{"If-None-Match", "W/" + etag},
		{"If-None-Match", "*"},
		{"If-None-Match", `"x", ` + etag},
		{"If-None-Match", `"x"`},
		{"If-Modified-Since", at(0)},
		{"If-Modified-Since", at(-time.Hour)},
		{"If-Modified-Since", at(time.Hour)},
		{"If-None-Match", `"x"`, "If-Modified-Since", at(0)},
		{"If-Match", etag},
		{"If-Match", `"x"`},
		{"If-Unmodified-Since", at(-time.Hour)},
		{"If-Unmodified-Since", at(0)},
		{"If-Range", etag, "If-None-Match", etag},
		{"If-Range", `"other"`, "If-None-Match", `"x"`},
		{"If-Match", etag, "If-Range", etag, "If-None-Match", `"x"`},
		{"If-Match", `"x"`, "If-None-Match", etag},
		{"If-Match", "*", "If-Unmodified-Since", at(-time.Hour)},
	}
}

// TestSameHeadAsServeContent of files that are still arriving, whose time is not known:
// HEAD waits for nobody, with a Range or without.
func TestSameHeadAsServeContent(t *testing.T) {
	etag := `"` + fakeHash + `-0"`
	for _, length := range []int{0, 1, 1000, 200_000} {
		data := randomBytes(length)
		reference := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", etag)
			w.Header().Set("Content-Type", "video/mp4")
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
		}))
		defer reference.Close()
		file := newFile("a.mp4", data)
		_, base := serve(t, stream.Config{}, newTorrent(file))
		for _, set := range sharedRanges {
			for _, cond := range conditions(etag, time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)) {
				headers := append([]string{"Range", set}, cond...)
				if set == "" {
					headers = cond
				}
				got := do(t, http.MethodHead, base+"/t/"+fakeHash+"/0", headers...)
				want := do(t, http.MethodHead, reference.URL, headers...)
				compare(t, fmt.Sprint(length, " HEAD ", headers), got, want)
			}
		}
		if file.opened != 0 {
			t.Errorf("%d bytes: opened %d times", length, file.opened)
		}
	}
}

func compare(t *testing.T, what string, got, want *http.Response) {
	t.Helper()
	if got.StatusCode != want.StatusCode {
		t.Errorf("%s: got %s, want %s", what, got.Status, want.Status)
		return
	}
	for _, name := range []string{"Content-Length", "Content-Range", "Content-Type", "ETag", "Last-Modified", "Accept-Ranges"} {
		g, w := got.Header.Get(name), want.Header.Get(name)
		if strings.HasPrefix(w, "multipart/") { // the boundaries differ
			g, _, _ = strings.Cut(g, ";")
			w, _, _ = strings.Cut(w, ";")
		}
		if name == "Accept-Ranges" && w == "" {
			continue // ServeContent leaves it out of errors
		}
		if g != w {
			t.Errorf("%s: %s is %q, want %q", what, name, g, w)
		}
	}
	gotBody, wantBody := bodyOf(t, got), bodyOf(t, want)
	if b := boundary(got); b != "" {
		gotBody = strings.ReplaceAll(gotBody, b, "")
		wantBody = strings.ReplaceAll(wantBody, boundary(want), "")
	}
	if gotBody != wantBody {
		t.Errorf("%s: bodies differ: %d and %d bytes", what, len(gotBody), len(wantBody))
	}
}

func boundary(res *http.Response) string {
	_, params, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	return params["boundary"]
}

func FuzzRange(f *testing.F) {
	for _, tc := range rangeCases {
		f.Add(tc.header)
	}
	data := randomBytes(1000)
	file := newFile("a.mp4", data).complete()
	s := stream.New(stream.Config{Torrents: func() []stream.Torrent { return []stream.Torrent{newTorrent(file)} }})
	defer s.Close()
	f.Fuzz(func(t *testing.T, header string) {
		r := httptest.NewRequest(http.MethodGet, "/t/"+fakeHash+"/0", nil)
		r.Host = "localhost"
		r.Header["Range"] = []string{header}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		switch w.Code {
		case http.StatusOK:
			if !bytes.Equal(w.Body.Bytes(), data) {
				t.Fatalf("200 with %d bytes", w.Body.Len())
			}
		case http.StatusPartialContent:
			var first, last, length int
			contentRange := w.Header().Get("Content-Range")
			if contentRange == "" {
				return // multipart
			}
			if _, err := fmt.Sscanf(contentRange, "bytes %d-%d/%d", &first, &last, &length); err != nil || last < first || length != 1000 {
				t.Fatalf("Content-Range %q: %v", contentRange, err)
			}
			if !bytes.Equal(w.Body.Bytes(), data[first:last+1]) {
				t.Fatalf("wrong bytes for %q", header)
			}
		case http.StatusRequestedRangeNotSatisfiable:
		default:
			t.Fatalf("status %d for %q", w.Code, header)
		}
	})
}
