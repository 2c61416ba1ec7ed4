package main_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/causeway-bt/causeway/bench/cli"
	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/realpeer"
)

// folder is what `causeway mount` shows.
type folder struct {
	run  *cli.Run
	dir  string
	out  string // where the data is kept
	args []string
}

// needFUSE skips the test where nothing can be mounted.
func needFUSE(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("mounts by FUSE: not with -short")
	}
	if f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0); err != nil {
		t.Skipf("mounting needs /dev/fuse: %v", err)
	} else {
		f.Close()
	}
	if os.Getuid() != 0 {
		toolPath(t, "fusermount3")
	}
}

// mounted mounts torrents on a new folder.
func mounted(t *testing.T, sources []string, flags ...string) *folder {
	t.Helper()
	needFUSE(t)
	f := &folder{dir: t.TempDir(), out: t.TempDir()}
	f.args = args([]string{"mount"}, sources, []string{f.dir, "-o", f.out}, alone, flags)
	f.start(t)
	return f
}

func (f *folder) start(t *testing.T) {
	t.Helper()
	f.run = start(t, f.args...)
	if _, err := f.run.WaitEvent(within(t, patience), "mounted"); err != nil {
		t.Fatal(err)
	}
}

// path is that of a file in it.
func (f *folder) path(elements ...string) string {
	return filepath.Join(append([]string{f.dir}, elements...)...)
}

// downloaded is how many bytes have come, as of now.
func (f *folder) downloaded(t *testing.T) int64 {
	t.Helper()
	before := len(f.run.Events())
	var last cli.Event
	eventually(t, patience, "another progress event", func() bool {
		for _, e := range f.run.Events()[before:] {
			if e.Event == "progress" {
				last = e
				return true
			}
		}
		return false
	})
	return last.Downloaded
}

// seedTree makes a torrent of a folder, and has libtorrent seed it.
func seedTree(t *testing.T, root string, o realpeer.Options, flags ...string) (torrent string, seed *realpeer.Peer) {
	t.Helper()
	realpeer.Need(t, realpeer.Libtorrent)
	torrent = filepath.Join(t.TempDir(), "made.torrent")
	made := start(t, args([]string{"create", root, "-o", torrent}, flags)...)
	waitExit(t, made, 0)
	o.Program, o.Torrent, o.Dir, o.Seed = realpeer.Libtorrent, torrent, filepath.Dir(root), true
	return torrent, realpeer.Start(t, o)
}

// aFilm makes a film whose index is at the end, whose pictures are noise: all of it is
// needed for all of them.
func aFilm(t *testing.T, path string, seconds int) {
	t.Helper()
	tool(t, "ffmpeg", "-v", "error",
		"-f", "lavfi", "-i", fmt.Sprintf("testsrc=size=160x120:rate=25:duration=%d,noise=alls=100:allf=t", seconds),
		"-f", "lavfi", "-i", fmt.Sprintf("sine=frequency=440:duration=%d", seconds),
		"-c:v", "mpeg4", "-b:v", "1M", "-g", "5", "-c:a", "aac", path)
}

// sums are the SHA-256 of all files below a folder, by their paths.
func sums(t *testing.T, root string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		h := sha256.New()
		if _, err := io.Copy(h, f); err != nil {
			return err
		}
		relative, err := filepath.Rel(root, path)
		fmt.Fprintf(&all, "%s %s\n", hex.EncodeToString(h.Sum(nil)), relative)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// readers are programs that read all of a folder, each in a way of its own: what they make
// of it must be the same as of the original. %s is the folder.
var readers = map[string][]string{
	"sha256sum": {"sh", "-c", "cd %s && find . -type f | sort | xargs -d '\\n' sha256sum"},
	"grep":      {"sh", "-c", "grep -rc --binary-files=text a %s | sort"},
	"tar":       {"sh", "-c", "cd %s && tar --sort=name --mtime=@0 --owner=0 --group=0 --mode=a=r -c . | sha256sum"},
	"mmap": {"/usr/bin/python3", "-c", `
import hashlib, mmap, os, random
os.chdir("%s")
for name in sorted(os.listdir(".")):
    if os.path.getsize(name):
        with open(name, "rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as m:
            places = list(range(0, len(m), 4096))
            random.Random(1).shuffle(places)
            print(name, hashlib.sha256(b"".join(m[p:p+100] for p in places)).hexdigest())
            print(name, hashlib.sha256(m).hexdigest())
`},
}

// Programs that know nothing of torrents read one while it is downloaded from libtorrent.
func TestMountIsReadByPrograms(t *testing.T) {
	t.Parallel()
	needFUSE(t)
	root := filepath.Join(t.TempDir(), "content")
	random := rand.NewChaCha8([32]byte{1})
	folders := []string{"cp", "rsync"}
	for name := range readers {
		folders = append(folders, name)
	}
	for _, name := range folders {
		for file, size := range map[string]int64{"big": 1_500_007, "small file": 70_001, "none": 0, "tiny": 1} {
			b := make([]byte, size)
			random.Read(b)
			put(t, filepath.Join(root, name, file), b)
		}
	}
	films := []string{"ffprobe.mkv", "ffmpeg.mp4", "mpv.mkv", "vlc.mp4"}
	for _, name := range films {
		put(t, filepath.Join(root, name), nil)
		if err := os.Remove(filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
		aFilm(t, filepath.Join(root, name), 20)
	}
	torrent, seed := seedTree(t, root, realpeer.Options{}, "--piece-length", "64K")
	f := mounted(t, []string{torrent}, "--peer", seed.Addr, "--allow-other")
	for name, command := range readers {
		t.Run(name, func(t *testing.T) {
			on := func(folder string) string {
				var arguments []string
				for _, a := range command[1:] {
					arguments = append(arguments, strings.ReplaceAll(a, "%s", filepath.Join(folder, name)))
				}
				return strings.ReplaceAll(tool(t, command[0], arguments...), folder, "")
			}
			if got, want := on(f.dir), on(root); got != want || want == "" {
				t.Errorf("of what is mounted:\n%s\nof the original:\n%s", got, want)
			}
		})
	}
	for name, command := range map[string][]string{"cp": {"cp", "-r"}, "rsync": {"rsync", "-a"}} {
		t.Run(name, func(t *testing.T) {
			to := filepath.Join(t.TempDir(), "copy")
			tool(t, command[0], append(command[1:], f.path(name)+"/", to)...)
			if got, want := sums(t, to), sums(t, filepath.Join(root, name)); got != want {
				t.Errorf("the copy has\n%s\nwant\n%s", got, want)
			}
		})
	}
	mountedFilms(t, f, root)
	if err := f.run.Interrupt(); err != nil {
		t.Fatal(err)
	}
	waitExit(t, f.run, 130)
	if entries, err := os.ReadDir(f.dir); err != nil || len(entries) > 0 {
		t.Errorf("after the end %d files are in the folder (%v)", len(entries), err)
	}
}

// mountedFilms plays films.
func mountedFilms(t *testing.T, f *folder, root string) {
	same := func(t *testing.T, name string, run func(path string) string) {
		t.Helper()
		got, want := run(f.path(name)), run(filepath.Join(root, name))
		if got = strings.ReplaceAll(got, f.dir, root); got != want || want == "" {
			t.Errorf("%s of what is mounted:\n%.600s\nof the original:\n%.600s", name, got, want)
		}
	}
	t.Run("ffprobe", func(t *testing.T) {
		same(t, "ffprobe.mkv", func(path string) string {
			return tool(t, "ffprobe", "-v", "error", "-show_streams", "-show_format", path)
		})
	})
	t.Run("ffmpeg seeks", func(t *testing.T) {
		random := rand.New(rand.NewPCG(3, 4))
		for range 20 {
			from := fmt.Sprintf("%.2f", random.Float64()*18)
			same(t, "ffmpeg.mp4", func(path string) string {
				return tool(t, "ffmpeg", "-v", "error", "-xerror", "-ss", from, "-i", path, "-frames:v", "3", "-map", "0:v", "-f", "framemd5", "-")
			})
		}
	})
	t.Run("mpv", func(t *testing.T) {
		same(t, "mpv.mkv", func(path string) string {
			out := filepath.Join(t.TempDir(), "sums")
			tool(t, "mpv", "--no-config", "--no-terminal", "--of=framemd5", "--o="+out, "--ovc=rawvideo", "--no-audio", path)
			b, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		})
	})
	t.Run("VLC", func(t *testing.T) {
		dir, err := os.MkdirTemp("", "vlc")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		dump := filepath.Join(dir, "dump")
		toolPath(t, "vlc")
		arguments := []string{"vlc", "-I", "dummy", "--no-dbus", "--play-and-exit", "--demux=dump", "--demuxdump-file=" + dump, f.path("vlc.mp4")}
		if os.Getuid() == 0 { // as whom VLC refuses to run
			for parent := f.dir; len(parent) > len(os.TempDir()); parent = filepath.Dir(parent) {
				if err := os.Chmod(parent, 0o755); err != nil && parent != f.dir {
					t.Fatal(err)
				}
			}
			arguments = append([]string{"setpriv", "--reuid=nobody", "--clear-groups", "env", "HOME=" + dir}, arguments...)
		}
		if out, err := exec.CommandContext(within(t, patience), arguments[0], arguments[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v\n%s", arguments, err, out)
		}
		if got, want := fileSHA256(t, dump), fileSHA256(t, filepath.Join(root, "vlc.mp4")); got != want {
			t.Error("VLC read other bytes than those of the film")
		}
	})
}

// A media scanner looks at each of a hundred films: no more than 2 MB of each are downloaded.
func TestMountMediaScan(t *testing.T) {
	t.Parallel()
	needFUSE(t)
	const films, most = 100, 2_000_000
	root := filepath.Join(t.TempDir(), "films")
	for i := range films {
		extension := []string{".mkv", ".mp4"}[i%2]
		path := filepath.Join(root, fmt.Sprintf("film %03d%s", i, extension))
		if i < 2 {
			put(t, path, nil)
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			// 20 MB: 27 seconds at 6 Mbit/s.
			tool(t, "ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=640x360:rate=25:duration=27,noise=alls=100:allf=t",
				"-f", "lavfi", "-i", "sine=frequency=440:duration=27", "-c:v", "mpeg4", "-b:v", "6M", "-maxrate", "6M", "-bufsize", "3M", "-c:a", "aac", path)
			if status, err := os.Stat(path); err != nil || status.Size() < 18e6 {
				t.Fatalf("the film has %v (%v), want about 20 MB", status.Size(), err)
			}
			continue
		}
		if err := os.Link(filepath.Join(root, fmt.Sprintf("film %03d%s", i%2, extension)), path); err != nil {
			t.Fatal(err)
		}
	}
	torrent, seed := seedTree(t, root, realpeer.Options{}, "--piece-length", "256K")
	f := mounted(t, []string{torrent}, "--peer", seed.Addr)
	scan := func(i int) {
		name := fmt.Sprintf("film %03d%s", i, []string{".mkv", ".mp4"}[i%2])
		if got := tool(t, "ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", f.path(name)); !strings.HasPrefix(got, "27.") {
			t.Errorf("ffprobe says of %s that it plays for %q seconds, want 27", name, got)
		}
	}
	var scanners sync.WaitGroup
	const atATime = 4
	for first := range atATime {
		scanners.Go(func() {
			for i := first; i < films; i += atATime {
				scan(i)
			}
		})
	}
	scanners.Wait()
	if got := f.downloaded(t); got > films*most {
		t.Errorf("%d bytes were downloaded for a look at %d films, want %d at most", got, films, films*most)
	} else {
		t.Logf("%d bytes for each of %d films", got/films, films)
	}
	for _, name := range []string{"film 000.mkv", "film 001.mp4"} {
		if done := attribute(t, f.path(name), "completed"); done > most {
			t.Errorf("%d bytes of %s were downloaded, want %d at most", done, name, most)
		}
	}
}

// attribute reads an extended attribute that is a number.
func attribute(t *testing.T, path, name string) (n int64) {
	t.Helper()
	text := tool(t, "getfattr", "--absolute-names", "--only-values", "-n", "user.causeway."+name, path)
	if _, err := fmt.Sscan(text, &n); err != nil {
		t.Fatalf("the attribute %s of %s is %q", name, path, text)
	}
	return n
}

// Short looks at the head, the tail and places in between download what they see, and no
// more, whoever looks next.
func TestMountSmallReadsStaySmall(t *testing.T) {
	t.Parallel()
	const piece = 64 << 10
	tor := makeTorrent(t, []fixture.File{{Size: 40_000_000}}, fixture.Options{PieceLength: piece})
	seed := realSeed(t, tor, realpeer.Options{})
	f := mounted(t, []string{tor.Path}, "--peer", seed.Addr)
	file, err := os.Open(f.path(tor.Name))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	original, err := os.Open(tor.FilePath(tor.Dir, 0))
	if err != nil {
		t.Fatal(err)
	}
	defer original.Close()
	random := rand.New(rand.NewPCG(5, 6))
	const looks = 20
	for i := range looks {
		off := []int64{0, tor.Size - 4096, random.Int64N(tor.Size - 4096)}[min(i, 2)]
		got, want := make([]byte, 4096), make([]byte, 4096)
		if _, err := file.ReadAt(got, off); err != nil {
			t.Fatal(err)
		}
		if _, err := original.ReadAt(want, off); err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Fatalf("other bytes at %d", off)
		}
	}
	if got, most := f.downloaded(t), int64(3*looks*piece); got > most {
		t.Errorf("%d looks at 4 KiB downloaded %d bytes, want %d at most", looks, got, most)
	}
}

// A file that is all there is read by the kernel alone where it can, or through the
// program; one that is open while it becomes so is read on.
func TestMountFinishedFiles(t *testing.T) {
	t.Parallel()
	tor := makeTorrent(t, []fixture.File{{Path: "a", Size: 3_000_001}, {Path: "b", Size: 200_003}}, fixture.Options{PieceLength: 64 << 10})
	want := sums(t, filepath.Join(tor.Dir, tor.Name))
	for _, flags := range [][]string{nil, {"--no-passthrough"}} {
		f := mounted(t, []string{tor.Path}, append(flags, "-o", tor.Dir)...)
		eventually(t, patience, "all verified", func() bool { return attribute(t, f.path("a"), "completed") == 3_000_001 })
		for range 2 {
			if got := sums(t, f.dir); got != want {
				t.Errorf("with %q, the files are\n%s\nwant\n%s", flags, got, want)
			}
		}
		passes := flags == nil && kernelPasses()
		if e, _ := f.run.Last("mounted"); e.Passthrough != passes {
			t.Errorf("with %q, passthrough is %v, want %v", flags, e.Passthrough, passes)
		}
		if !kernelPasses() {
			continue
		}
		if cached := cachedPages(t, f.path("a")); (cached == 0) != passes {
			t.Errorf("with %q, the kernel keeps %d pages of the mounted file, and passthrough is to be %v", flags, cached, passes)
		}
	}
	seed := realSeed(t, tor, realpeer.Options{})
	f := mounted(t, []string{tor.Path}, "--peer", seed.Addr)
	early, err := os.Open(f.path("a"))
	if err != nil {
		t.Fatal(err)
	}
	defer early.Close()
	if _, err := early.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // beside it, while it comes and when it is there
		if got := sums(t, f.dir); got != want {
			t.Errorf("beside an open file, the files are\n%s\nwant\n%s", got, want)
		}
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(early, 0, 3_000_001)); err != nil || !strings.Contains(want, hex.EncodeToString(h.Sum(nil))+" a\n") {
		t.Errorf("the open file has other bytes (%v)", err)
	}
}

// kernelPasses reports whether the kernel lets us have it read finished files by itself:
// as root, since Linux 6.9.
func kernelPasses() bool {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil || os.Getuid() != 0 {
		return false
	}
	var major, minor int
	if _, err := fmt.Sscanf(string(release), "%d.%d", &major, &minor); err != nil {
		return false
	}
	return major > 6 || major == 6 && minor >= 9
}

// cachedPages is how many pages of a file the kernel keeps (cachestat, Linux 6.5). Of what
// it reads by passthrough it keeps those of the file beneath, and none of this one.
func cachedPages(t *testing.T, path string) (n int) {
	t.Helper()
	out := tool(t, "/usr/bin/python3", "-c", `
import ctypes, sys
with open(sys.argv[1], "rb") as f:
    whole, stat = (ctypes.c_uint64 * 2)(), (ctypes.c_uint64 * 5)()
    if ctypes.CDLL(None, use_errno=True).syscall(451, f.fileno(), whole, stat, 0):
        sys.exit("cachestat: errno %d" % ctypes.get_errno())
    print(stat[0])
`, path)
	if _, err := fmt.Sscan(out, &n); err != nil {
		t.Fatalf("cachestat says %q", out)
	}
	return n
}
