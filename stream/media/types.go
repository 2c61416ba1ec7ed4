package media

import (
	"path"
	"strings"
)

// Kind says what a player or a page can do with a file.
type Kind uint8

// The kinds of files that are told apart.
const (
	Other Kind = iota
	Video
	Audio
	Subtitle
	Image
	Text
)

// String returns the kind's name in lower case, as pages and JSON show it.
func (k Kind) String() string {
	switch k {
	case Video:
		return "video"
	case Audio:
		return "audio"
	case Subtitle:
		return "subtitle"
	case Image:
		return "image"
	case Text:
		return "text"
	default:
		return "other"
	}
}

// Playable reports whether the kind belongs in a playlist.
func (k Kind) Playable() bool { return k == Video || k == Audio }

// defaultType is what a file of unknown extension is served as. With nosniff it
// makes a browser save the file, never run it.
const defaultType = "application/octet-stream"

type format struct {
	kind Kind
	mime string
}

// formats is deliberately without HTML, SVG and XML: a torrent's files are
// served from our own origin and must not become scripts there.
var formats = map[string]format{
	".3g2":  {Video, "video/3gpp2"},
	".3gp":  {Video, "video/3gpp"},
	".asf":  {Video, "video/x-ms-asf"},
	".avi":  {Video, "video/x-msvideo"},
	".divx": {Video, "video/x-msvideo"},
	".evo":  {Video, "video/mpeg"}, // the program stream of HD DVD
	".f4v":  {Video, "video/mp4"},
	".flv":  {Video, "video/x-flv"},
	".m2t":  {Video, "video/mp2t"},
	".m2ts": {Video, "video/mp2t"},
	".m2v":  {Video, "video/mpeg"},
	".m4v":  {Video, "video/mp4"},
	".mk3d": {Video, "video/x-matroska-3d"},
	".mkv":  {Video, "video/x-matroska"},
	".mov":  {Video, "video/quicktime"},
	".mp4":  {Video, "video/mp4"},
	".mpe":  {Video, "video/mpeg"},
	".mpeg": {Video, "video/mpeg"},
	".mpg":  {Video, "video/mpeg"},
	".mpv":  {Video, "video/mpeg"},
	".mts":  {Video, "video/mp2t"},
	".mxf":  {Video, "application/mxf"},
	".ogm":  {Video, "video/ogg"},
	".ogv":  {Video, "video/ogg"},
	".ogx":  {Video, "application/ogg"},
	".qt":   {Video, "video/quicktime"},
	".rm":   {Video, "application/vnd.rn-realmedia"},
	".rmvb": {Video, "application/vnd.rn-realmedia-vbr"},
	".tp":   {Video, "video/mp2t"},
	".ts":   {Video, "video/mp2t"},
	".vob":  {Video, "video/mpeg"},
	".webm": {Video, "video/webm"},
	".wtv":  {Video, "video/x-ms-wtv"},
	".wmv":  {Video, "video/x-ms-wmv"},

	".aac":  {Audio, "audio/aac"},
	".ac3":  {Audio, "audio/ac3"},
	".aif":  {Audio, "audio/aiff"},
	".aiff": {Audio, "audio/aiff"},
	".alac": {Audio, "audio/mp4"},
	".amr":  {Audio, "audio/amr"},
	".ape":  {Audio, "audio/x-ape"},
	".dsf":  {Audio, "audio/x-dsf"},
	".dts":  {Audio, "audio/vnd.dts"},
	".eac3": {Audio, "audio/eac3"},
	".flac": {Audio, "audio/flac"},
	".m4a":  {Audio, "audio/mp4"},
	".m4b":  {Audio, "audio/mp4"},
	".mid":  {Audio, "audio/midi"},
	".mka":  {Audio, "audio/x-matroska"},
	".mp2":  {Audio, "audio/mpeg"},
	".mp3":  {Audio, "audio/mpeg"},
	".mpc":  {Audio, "audio/x-musepack"},
	".oga":  {Audio, "audio/ogg"},
	".ogg":  {Audio, "audio/ogg"},
	".opus": {Audio, "audio/ogg"},
	".spx":  {Audio, "audio/ogg"},
	".tta":  {Audio, "audio/x-tta"},
	".wav":  {Audio, "audio/wav"},
	".weba": {Audio, "audio/webm"},
	".wma":  {Audio, "audio/x-ms-wma"},
	".wv":   {Audio, "audio/x-wavpack"},

	".ass": {Subtitle, "text/x-ssa"},
	".idx": {Subtitle, "text/plain"},
	".smi": {Subtitle, "text/plain"},
	".srt": {Subtitle, "application/x-subrip"},
	".ssa": {Subtitle, "text/x-ssa"},
	".sub": {Subtitle, defaultType},
	".sup": {Subtitle, defaultType},
	".vtt": {Subtitle, "text/vtt; charset=utf-8"},

	".avif": {Image, "image/avif"},
	".bmp":  {Image, "image/bmp"},
	".gif":  {Image, "image/gif"},
	".jpeg": {Image, "image/jpeg"},
	".jpg":  {Image, "image/jpeg"},
	".png":  {Image, "image/png"},
	".webp": {Image, "image/webp"},

	".cue":  {Text, "text/plain"},
	".log":  {Text, "text/plain"},
	".md":   {Text, "text/plain"},
	".md5":  {Text, "text/plain"},
	".nfo":  {Text, "text/plain"},
	".sfv":  {Text, "text/plain"},
	".txt":  {Text, "text/plain"},
	".epub": {Other, "application/epub+zip"},
	".pdf":  {Other, "application/pdf"},
	".zip":  {Other, "application/zip"},
}

func formatOf(name string) format {
	return formats[strings.ToLower(path.Ext(name))]
}

// KindOf tells a file's kind by its extension.
func KindOf(name string) Kind { return formatOf(name).kind }

// Type returns the MIME type a file of that name is served as, by a fixed table,
// so that every machine answers alike. The type of an unknown extension is
// application/octet-stream.
func Type(name string) string {
	if f := formatOf(name); f.mime != "" {
		return f.mime
	}
	return defaultType
}

// Stem returns the last element of a slash-separated path without its extension.
func Stem(name string) string {
	base := path.Base(name)
	return strings.TrimSuffix(base, path.Ext(base))
}
