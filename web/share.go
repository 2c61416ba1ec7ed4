package web

// Share is share.json: what a page shows and plays, and how it gets there.
type Share struct {
	// Title is the page's, where there are several torrents; empty: "Causeway".
	Title    string    `json:"title,omitempty"`
	Torrents []Torrent `json:"torrents"`
	// Announce are URLs of WebSocket trackers. A page that came over https can reach wss
	// only.
	Announce []string `json:"announce,omitempty"`
	// ICE are the STUN and TURN servers, with credentials of this page load's own.
	ICE []ICEServer `json:"ice,omitempty"`
	// Page is this page load's id: the page sends it back when it asks for share.json again,
	// and with each question for status.json, as ?page=ID&host=N&viewers=N&http=N&given=N: what
	// it got so far from Causeway over WebRTC, from other pages and over HTTP, and gave to
	// other pages, in bytes.
	Page string `json:"page,omitempty"`
	// Receive is set where the page may send files.
	Receive *Receive `json:"receive,omitempty"`
}

// Torrent is one shared torrent.
type Torrent struct {
	InfoHash string `json:"infohash"` // v1, lower-case hexadecimal: what browsers can fetch
	Name     string `json:"name"`
	// Pending says that the metadata is still being fetched: only InfoHash and Name are known.
	Pending     bool   `json:"pending,omitempty"`
	Length      int64  `json:"length"`       // bytes
	PieceLength int64  `json:"piece_length"` // bytes
	Torrent     string `json:"torrent"`      // URL of the .torrent file
	Magnet      string `json:"magnet,omitempty"`
	// Files are all files in metadata order, padding files (BEP 47) included.
	Files []File `json:"files"`
}

// File is one file of a torrent.
type File struct {
	Index  int    `json:"index"`  // in the torrent's metadata
	Path   string `json:"path"`   // slash-separated, inside of the torrent's folder
	Length int64  `json:"length"` // bytes
	// Kind is "video", "audio", "subtitle", "image", "text" or "other" (package stream/media).
	Kind string `json:"kind"`
	Type string `json:"type,omitempty"` // media type
	// URL is where its bytes are, with ranges; empty for padding, which is all zeros.
	URL       string     `json:"url"`
	Subtitles []Subtitle `json:"subtitles,omitempty"` // of a video, the likeliest first
}

// Subtitle is a file of subtitles that belongs to a video.
type Subtitle struct {
	Index int    `json:"index"` // of the file in the torrent
	Label string `json:"label,omitempty"`
	Lang  string `json:"lang,omitempty"` // BCP 47
}

// ICEServer is an RTCIceServer of the WebRTC standard.
type ICEServer struct {
	URLs       []string `json:"urls"`
	Username   string   `json:"username,omitempty"`
	Credential string   `json:"credential,omitempty"`
}

// Receive says where a page sends files, and how much is taken at once.
type Receive struct {
	URL      string `json:"url"`
	MaxBytes int64  `json:"max_bytes"`
	MaxFiles int    `json:"max_files"`
}

// Upload announces files that a page sends by HTTP.
type Upload struct {
	Files []UploadFile `json:"files"`
}

// UploadFile is one of them. Its name is the sender's: the host makes a safe one of it.
type UploadFile struct {
	Name   string `json:"name"`
	Length int64  `json:"length"` // bytes
}

// States of Receiving.
const (
	ReceivingWaits  = "waiting"   // nothing has come yet
	ReceivingComes  = "receiving" // something has
	ReceivingSaved  = "saved"     // all is there, verified, under its final name
	ReceivingFailed = "failed"    // Message says why
)

// Receiving is how far something is that a page sends.
type Receiving struct {
	ID       string `json:"id"`
	State    string `json:"state"`
	Received int64  `json:"received"` // bytes
	Message  string `json:"message,omitempty"`
}

// Status is status.json: what changes while a page is open.
type Status struct {
	// Run is another one whenever the host was started anew: pages then take share.json
	// again and announce themselves to the tracker.
	Run      string          `json:"run"`
	Torrents []TorrentStatus `json:"torrents"`
}

// TorrentStatus are the figures of one torrent as the host sees them.
type TorrentStatus struct {
	InfoHash  string  `json:"infohash"`
	Completed int64   `json:"completed"` // bytes that the host has, verified
	Classic   Swarm   `json:"classic"`   // TCP and uTP
	Web       Swarm   `json:"web"`       // WebRTC
	Bridged   Bridged `json:"bridged"`
}

// Swarm is the host's side of one of the two swarms.
type Swarm struct {
	Peers int   `json:"peers"`
	Down  int64 `json:"down"` // bytes/s, to the host
	Up    int64 `json:"up"`   // bytes/s, from the host
}

// Bridged are bytes that came from one swarm and left to the other.
type Bridged struct {
	ToWeb     int64 `json:"to_web"`
	ToClassic int64 `json:"to_classic"`
}
