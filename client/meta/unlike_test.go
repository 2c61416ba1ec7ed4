package meta

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What is no torrent is called what it is, and whoever has a file to share learns how.
func TestWhatIsNoTorrent(t *testing.T) {
	const share = "; `causeway seed` shares files"
	folder := t.TempDir()
	for name, test := range map[string]struct{ content, want string }{
		"film.mkv":     {"\x1a\x45\xdf\xa3\x01\x00", " does not look like a torrent: it seems to be a video" + share},
		"film.mp4":     {"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom", " does not look like a torrent: it seems to be a video" + share},
		"song.mp3":     {"ID3\x03\x00", " does not look like a torrent: it seems to be music" + share},
		"notes.txt":    {"Dear diary", " does not look like a torrent: it seems to be text" + share},
		"dear.txt":     {"dear diary", " does not look like a torrent: it seems to be text" + share},
		"data.bin":     {"\x00\x01\x02\x03", " does not look like a torrent" + share},
		"gone.torrent": {"404 not found", " does not look like a torrent: it seems to be text"},
		"page.torrent": {"\n<!DOCTYPE html><html>", " is a web page, not a torrent; look for the link of the .torrent file or the magnet link on it"},
		"none.torrent": {"", " is empty, and so no torrent"},
		"half.torrent": {"d8:announce", ": not a torrent: "},
	} {
		path := filepath.Join(folder, name)
		writeFile(t, path, []byte(test.content))
		if _, err := Load(t.Context(), path, nil); err == nil || !strings.HasPrefix(err.Error(), path+test.want) {
			t.Errorf("%s: got %q, want %q", name, err, path+test.want)
		}
	}
	_, err := Load(t.Context(), "-", strings.NewReader("rubbish"))
	if want := "standard input does not look like a torrent: it seems to be text"; err == nil || err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

func TestWhatIsTooLargeForATorrent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, MaxTorrentSize+10); err != nil {
		t.Fatal(err)
	}
	_, err := Load(t.Context(), path, nil)
	if want := path + " does not look like a torrent: it is larger than the 64 MiB that one may have; `causeway seed` shares files"; err == nil || err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	server := httptest.NewServer(http.FileServer(http.Dir(filepath.Dir(path))))
	defer server.Close()
	_, err = Load(t.Context(), server.URL+"/disk.img", nil)
	if want := "/disk.img does not look like a torrent: it is larger than the 64 MiB that one may have"; err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got %q, want %q", err, want)
	}
}
