package meta

// InfoHashes are what a torrent is known by: V1 is the SHA-1 of its info dictionary
// (BEP 3), V2 the SHA-256 (BEP 52). A torrent has one of them, a hybrid both.
type InfoHashes struct {
	V1 *[20]byte
	V2 *[32]byte
}

// Swarms are the 20 bytes by which trackers, DHT and handshakes know the swarms of the
// torrent: V1, and the first 20 bytes of V2.
func (h InfoHashes) Swarms() [][20]byte {
	var swarms [][20]byte
	if h.V1 != nil {
		swarms = append(swarms, *h.V1)
	}
	if h.V2 != nil {
		swarms = append(swarms, [20]byte(h.V2[:20]))
	}
	return swarms
}

// InfoHashes returns what the torrent is known by.
func (i *Info) InfoHashes() InfoHashes { return InfoHashes{&i.InfoHash, i.InfoHashV2} }

// InfoHashes returns what the torrent is known by, as far as the link says.
func (m *Magnet) InfoHashes() InfoHashes { return InfoHashes{&m.InfoHash, m.InfoHashV2} }

// InfoHashes returns what the torrent is known by, as far as the source says.
func (s *Source) InfoHashes() InfoHashes {
	if s.Torrent != nil {
		return s.Torrent.Info.InfoHashes()
	}
	return s.Magnet.InfoHashes()
}
