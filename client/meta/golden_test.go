package meta

import (
	"encoding/hex"
	"errors"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/anacrolix/torrent/metainfo"
)

// golden is what the programs that made the torrents say of them.
var golden = []struct {
	file          string
	hash, hashV2  string
	pieces, files int
	length        int64
	want          Torrent
}{
	{
		file: "transmission-folder.torrent", hash: "06d40eaf6d090d81f6dfd05780f8d456b33b1df6",
		pieces: 5, files: 4, length: 137619, // it leaves empty files out
		want: Torrent{
			Trackers: [][]string{{"http://tracker.example/announce"}, {"udp://tracker2.example:6969"}},
			Comment:  "A comment", CreatedBy: "Transmission/3.00 (bb6b5a062e)",
		},
	},
	{
		file: "transmission-private.torrent", hash: "a86e0528fa06deba823907b4b5b29a1b23d0fb3f",
		pieces: 5, files: 1, length: 70001,
		want: Torrent{
			Trackers: [][]string{{"https://tracker.example/announce"}}, CreatedBy: "Transmission/3.00 (bb6b5a062e)",
		},
	},
	{
		file: "libtorrent-v1.torrent", hash: "a63654710e60a1edd915b22d35a15974c4102a20",
		pieces: 9, files: 5, length: 137619,
		want: Torrent{
			WebSeeds: []string{"http://seed.example/", "https://seed2.example/x"},
			Nodes:    []string{"router.example:6881", "127.0.0.1:1"},
			Comment:  "captured", CreatedBy: "libtorrent 2.0.8.0",
		},
	},
	{
		file: "libtorrent-hybrid.torrent", hash: "8a763a09da091866782cf410e934542727d26b5f",
		hashV2: "0f9bf82d7122ff9ce8a7ce88edab027dd8df18c215c6324b999a51dabaeb3370",
		pieces: 11, files: 8, length: 180224,
		want: Torrent{
			Trackers: [][]string{{"http://a.example/announce", "wss://b.example"}, {"udp://c.example:1"}},
			Comment:  "captured", CreatedBy: "libtorrent 2.0.8.0",
		},
	},
}

func TestTorrentsOfOtherPrograms(t *testing.T) {
	root := writeBandDemo(t)
	for _, test := range golden {
		t.Run(test.file, func(t *testing.T) {
			torrent, err := ParseTorrent(readFile(t, filepath.Join("testdata", test.file)))
			if err != nil {
				t.Fatal(err)
			}
			info := torrent.Info
			hashV2 := ""
			if info.InfoHashV2 != nil {
				hashV2 = hex.EncodeToString(info.InfoHashV2[:])
			}
			if got := hex.EncodeToString(info.InfoHash[:]); got != test.hash || hashV2 != test.hashV2 {
				t.Errorf("infohashes %s %s, want %s %s", got, hashV2, test.hash, test.hashV2)
			}
			if info.NumPieces() != test.pieces || len(info.Files) != test.files || info.Length != test.length {
				t.Errorf("%d pieces, %d files, %d bytes", info.NumPieces(), len(info.Files), info.Length)
			}
			if info.Private != (test.file == "transmission-private.torrent") {
				t.Errorf("private: %v", info.Private)
			}
			if torrent.Created.IsZero() {
				t.Error("the date is lost")
			}
			got := *torrent
			test.want.Info, test.want.Created = torrent.Info, torrent.Created
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v\nwant %+v", got, test.want)
			}
			folder := root
			if !info.MultiFile {
				folder = filepath.Join(root, "Band Demo")
			}
			result, err := Verify(t.Context(), info, folder, nil)
			if err != nil || !result.Complete() || result.GoodPieces != test.pieces {
				t.Errorf("the data does not fit: %+v, %v", result, err)
			}
		})
	}
}

func TestV2OnlyTorrentIsRefused(t *testing.T) {
	_, err := ParseTorrent(readFile(t, "testdata/libtorrent-v2only.torrent"))
	if !errors.Is(err, ErrV2Only) {
		t.Errorf("got %v", err)
	}
}

// Two decoders agree on what the torrents say.
func TestSameAsAnacrolix(t *testing.T) {
	for _, test := range golden {
		path := filepath.Join("testdata", test.file)
		ours, err := ParseTorrent(readFile(t, path))
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := metainfo.LoadFromFile(path)
		if err != nil {
			t.Fatal(err)
		}
		info, err := theirs.UnmarshalInfo()
		if err != nil {
			t.Fatal(err)
		}
		if theirs.HashInfoBytes() != ours.Info.InfoHash || info.BestName() != ours.Info.Name {
			t.Errorf("%s: %v %q", test.file, theirs.HashInfoBytes(), info.BestName())
		}
		i := 0
		for file := range info.UpvertedV1Files() {
			got := ours.Info.Files[i]
			if got.Length != file.Length || got.Offset != file.TorrentOffset || info.IsDir() && !reflect.DeepEqual(got.Path, file.Path) {
				t.Errorf("%s: %+v, want %+v", test.file, got, file)
			}
			i++
		}
	}
}
