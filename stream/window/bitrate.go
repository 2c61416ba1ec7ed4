package window

import (
	"io"

	"github.com/causeway-bt/causeway/stream/media"
)

// Bitrate reads a file's average bitrate, in bytes per second, from its container's
// header; media.HasDuration says whether that can be tried. The header was written by a
// stranger, and may be at the end.
func Bitrate(r io.ReadSeeker, length int64, name string) (float64, error) {
	d, err := media.Duration(r, length, name)
	if err != nil {
		return 0, err
	}
	return float64(length) / d.Seconds(), nil
}
