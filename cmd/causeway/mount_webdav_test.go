package main_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/causeway-bt/causeway/bench/cli"
	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/realpeer"
)

// webdav serves torrents by WebDAV alone, which takes no FUSE, and returns the address.
func webdav(t *testing.T, sources []string, flags ...string) (run *cli.Run, url string) {
	t.Helper()
	run = start(t, args([]string{"mount"}, sources, []string{"--webdav", "127.0.0.1:0", "-o", t.TempDir()}, alone, flags)...)
	e, err := run.WaitEvent(within(t, patience), "serving")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := run.WaitEvent(within(t, patience), "torrent"); err != nil {
		t.Fatal(err)
	}
	return run, e.URL
}

// ask makes a request, and returns the status and the answer.
func ask(t *testing.T, method, url, body string, headers ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(within(t, patience), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(b)
}

// WebDAV clients read a torrent while it is downloaded from libtorrent: whole, in ranges,
// and mounted by davfs2.
func TestMountWebDAVIsReadByPrograms(t *testing.T) {
	t.Parallel()
	realpeer.Need(t, realpeer.Libtorrent)
	tor := makeTorrent(t, []fixture.File{
		{Path: "curl/big file", Size: 2_000_003}, {Path: "rclone/a", Size: 1_500_007}, {Path: "rclone/deep/b", Size: 70_001},
		{Path: "rclone/none"}, {Path: "cadaver", Size: 500_009}, {Path: "davfs2/c", Size: 900_001}, {Path: "film.mp4", Size: 1 << 20},
	}, fixture.Options{PieceLength: 64 << 10})
	seed := realSeed(t, tor, realpeer.Options{})
	const token = "a secret"
	_, url := webdav(t, []string{tor.Path}, "--peer", seed.Addr, "--token", token)
	original := func(path string) string { return filepath.Join(tor.Dir, tor.Name, filepath.FromSlash(path)) }
	t.Run("curl", func(t *testing.T) {
		want, err := os.ReadFile(original("curl/big file"))
		if err != nil {
			t.Fatal(err)
		}
		from := url + "curl/big%20file"
		if got := tool(t, "curl", "-sf", "-u", "me:"+token, "-r", "1000000-1234567", from); got != string(want[1000000:1234568]) {
			t.Errorf("a range has %d other bytes", len(got))
		}
		if got := tool(t, "curl", "-sf", "-u", "me:"+token, from); got != string(want) {
			t.Errorf("%d bytes, which are others", len(got))
		}
	})
	t.Run("rclone", func(t *testing.T) {
		to := t.TempDir()
		obscured := strings.TrimSpace(tool(t, "rclone", "obscure", token))
		flags := []string{"--config", filepath.Join(to, "none"), "--webdav-url", url, "--webdav-user", "me", "--webdav-pass", obscured, "--webdav-vendor", "other"}
		tool(t, "rclone", append([]string{"copy", ":webdav:rclone", filepath.Join(to, "copy")}, flags...)...)
		if got, want := sums(t, filepath.Join(to, "copy")), sums(t, original("rclone")); got != want {
			t.Errorf("the copy has\n%s\nwant\n%s", got, want)
		}
	})
	t.Run("cadaver", func(t *testing.T) {
		home := t.TempDir()
		put(t, filepath.Join(home, ".netrc"), []byte("machine 127.0.0.1\nlogin me\npassword \""+token+"\"\n"))
		cmd := exec.CommandContext(within(t, patience), toolPath(t, "cadaver"), url)
		cmd.Dir, cmd.Env = home, append(os.Environ(), "HOME="+home)
		cmd.Stdin = strings.NewReader("ls\nget cadaver\nquit\n")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "davfs2") {
			t.Fatalf("cadaver: %v\n%s", err, out)
		}
		if fileSHA256(t, filepath.Join(home, "cadaver")) != fileSHA256(t, original("cadaver")) {
			t.Error("other bytes")
		}
	})
	t.Run("davfs2", func(t *testing.T) {
		needFUSE(t)
		toolPath(t, "mount.davfs")
		if os.Getuid() != 0 {
			t.Skip("mounting by davfs2 needs root")
		}
		dir, home := t.TempDir(), t.TempDir()
		secrets, conf := filepath.Join(home, "secrets"), filepath.Join(home, "conf")
		put(t, secrets, fmt.Appendf(nil, "%s me \"%s\"\n", url, token))
		put(t, conf, fmt.Appendf(nil, "secrets %s\nask_auth 0\nuse_locks 0\n", secrets))
		if err := os.Chmod(secrets, 0o600); err != nil {
			t.Fatal(err)
		}
		tool(t, "mount.davfs", "-o", "ro,conf="+conf, url, dir)
		t.Cleanup(func() {
			if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
				t.Errorf("umount: %v: %s", err, out)
			}
		})
		if fileSHA256(t, filepath.Join(dir, "davfs2", "c")) != fileSHA256(t, original("davfs2/c")) {
			t.Error("other bytes")
		}
	})
}

// Nothing can be written, nothing outside is shown, nobody gets in without the token, and
// everything at once is refused.
func TestMountWebDAVRefuses(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("runs the built program: not with -short")
	}
	tor := makeTorrent(t, []fixture.File{{Path: "folder/a", Size: 5000}}, fixture.Options{})
	_, url := webdav(t, []string{tor.Path}, "--token", "secret")
	allowed := []string{"Authorization", "Bearer secret"}
	for _, method := range []string{"PUT", "DELETE", "MKCOL", "MOVE", "COPY", "LOCK", "UNLOCK", "PROPPATCH", "POST", "PATCH", "ODD"} {
		if status, _ := ask(t, method, url+"folder/a", "<x/>", append(allowed, "Destination", url+"b", "Depth", "infinity")...); status != 405 {
			t.Errorf("%s is answered with %d, want 405", method, status)
		}
	}
	for _, path := range []string{"../", "folder/../../", "%2e%2e/", "folder/%2e%2e/%2e%2e/etc/passwd", "folder%2f..%2f..%2fetc", "..%5c", "folder/%00", ".", "folder/./a", "folder/a/b", "none"} {
		for _, method := range []string{"GET", "PROPFIND"} {
			status, body := ask(t, method, url+path, "", append(allowed, "Depth", "1")...)
			if status != 400 && status != 404 && status != 301 || strings.Contains(body, "multistatus") {
				t.Errorf("%s /%s is answered with %d: %.100q", method, path, status, body)
			}
		}
	}
	for depth, want := range map[string]int{"0": 207, "1": 207, "infinity": 403, "2": 403, "": 403, "-1": 403, "1000000000000": 403} {
		headers := allowed
		if depth != "" {
			headers = append(allowed, "Depth", depth)
		}
		if status, _ := ask(t, "PROPFIND", url, "", headers...); status != want {
			t.Errorf("PROPFIND with depth %q is answered with %d, want %d", depth, status, want)
		}
	}
	bomb := `<?xml version="1.0"?><D:propfind xmlns:D="DAV:"><D:prop>` + strings.Repeat("<D:x/>", 50_000) + `</D:prop></D:propfind>`
	if status, body := ask(t, "PROPFIND", url, bomb, append(allowed, "Depth", "0")...); status < 400 || len(body) > 10_000 {
		t.Errorf("a body of %d bytes is answered with %d and %d bytes", len(bomb), status, len(body))
	}
	for name, headers := range map[string][]string{
		"no token":         nil,
		"another":          {"Authorization", "Bearer other"},
		"another password": {"Authorization", "Basic bWU6b3RoZXI="}, // me:other
	} {
		if status, _ := ask(t, "GET", url+"folder/a", "", headers...); status != 401 {
			t.Errorf("with %s, it is answered with %d", name, status)
		}
	}
	for name, headers := range map[string][]string{
		"a page of another site": {"Origin", "https://evil.example"},
		"what such a page embeds": {
			"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "video",
		},
	} {
		if status, _ := ask(t, "GET", url+"folder/a", "", append(allowed, headers...)...); status != 403 {
			t.Errorf("%s is answered with %d", name, status)
		}
	}
	host := strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/")
	for range 20 { // more than are answered at a time
		conn, err := net.Dial("tcp", host)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "PROPFIND / HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer secret\r\nDepth: 0\r\nContent-Length: 100\r\n\r\n<", host)
	}
	if status, body := ask(t, "PROPFIND", url+"folder/", "", append(allowed, "Depth", "1")...); status != 207 || !strings.Contains(body, "5000") {
		t.Errorf("beside others that send slowly, a listing is answered with %d: %s", status, body)
	}
	rest, err := http.NewRequest("OPTIONS", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	rest.SetBasicAuth("anybody", "secret")
	response, err := http.DefaultClient.Do(rest)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if dav, allow := response.Header.Get("DAV"), response.Header.Get("Allow"); dav != "1" || allow != "OPTIONS, GET, HEAD, PROPFIND" {
		t.Errorf("it can do %q and allows %q", dav, allow)
	}
	if b, _ := io.ReadAll(response.Body); !bytes.Equal(b, nil) {
		t.Errorf("and says %q", b)
	}
}

// Who looks at files beside a seed downloads nothing: neither who lists them, nor who asks
// for their heads, whatever their names tell of their types.
func TestMountWebDAVLooksDownloadNothing(t *testing.T) {
	t.Parallel()
	realpeer.Need(t, realpeer.Libtorrent)
	files := []fixture.File{
		{Path: "README", Size: 300_000}, {Path: "folder/no extension", Size: 300_000}, {Path: "folder/odd.qqq", Size: 300_000},
		{Path: "film.mp4", Size: 300_000}, {Path: ".hidden", Size: 300_000},
	}
	tor := makeTorrent(t, files, fixture.Options{PieceLength: 32 << 10})
	seed := realSeed(t, tor, realpeer.Options{})
	run, url := webdav(t, []string{tor.Path}, "--peer", seed.Addr)
	f := &folder{run: run}
	if _, err := run.WaitFor(within(t, patience), "a peer", func(e cli.Event) bool {
		return e.Event == "progress" && e.Peers.TCP+e.Peers.UTP > 0
	}); err != nil {
		t.Fatal(err)
	}
	everything := `<?xml version="1.0"?><D:propfind xmlns:D="DAV:"><D:allprop/></D:propfind>`
	for _, path := range []string{"", "folder/"} {
		for _, body := range []string{"", everything} {
			if status, answer := ask(t, "PROPFIND", url+path, body, "Depth", "1"); status != 207 || !strings.Contains(answer, "300000") {
				t.Errorf("PROPFIND of /%s is answered with %d: %s", path, status, answer)
			}
		}
	}
	for _, file := range files {
		path := strings.ReplaceAll(file.Path, " ", "%20")
		if status, _ := ask(t, "HEAD", url+path, ""); status != 200 {
			t.Errorf("HEAD of /%s is answered with %d", path, status)
		}
		if status, answer := ask(t, "PROPFIND", url+path, everything, "Depth", "0"); status != 207 || !strings.Contains(answer, "getcontenttype") {
			t.Errorf("PROPFIND of /%s is answered with %d: %s", path, status, answer)
		}
	}
	if got := f.downloaded(t); got != 0 {
		t.Errorf("%d bytes were downloaded, by looking alone", got)
	}
	if status, body := ask(t, "GET", url+"README", "", "Range", "bytes=0-99"); status != 206 || len(body) != 100 {
		t.Errorf("a range is answered with %d and %d bytes", status, len(body))
	}
	if got := f.downloaded(t); got == 0 {
		t.Error("of what was read, nothing was downloaded")
	}
}
