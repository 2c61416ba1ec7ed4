package meta

import (
	"fmt"
	"slices"

	"github.com/anacrolix/torrent/bencode"
	"github.com/anacrolix/torrent/metainfo"
)

// Encode makes a .torrent file of an info dictionary, with trackers, each in a tier of its own
// (BEP 12), and web seeds (BEP 19).
func Encode(info *Info, trackers, webSeeds []string) ([]byte, error) {
	m := metainfo.MetaInfo{InfoBytes: slices.Clone(info.Raw), CreatedBy: "causeway", UrlList: webSeeds}
	if len(trackers) > 0 {
		m.Announce = trackers[0]
	}
	if len(trackers) > 1 {
		for _, tracker := range trackers {
			m.AnnounceList = append(m.AnnounceList, []string{tracker})
		}
	}
	encoded, err := bencode.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("cannot encode the torrent: %w", err)
	}
	return encoded, nil
}
