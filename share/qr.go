package share

import (
	"fmt"
	"io"
	"strings"

	"github.com/yeqown/go-qrcode/v2"
)

// quiet is the border that scanners need (ISO/IEC 18004), in modules.
const quiet = 4

// QR draws a link as a QR code of text, two modules a character. Each line sets its own
// colours (black on white, by ANSI escapes), since scanners want dark on light.
func QR(link string) (lines []string, err error) {
	code, err := qrcode.NewWith(link, qrcode.WithErrorCorrectionLevel(qrcode.ErrorCorrectionLow))
	if err != nil {
		return nil, fmt.Errorf("draw a QR code: %w", err)
	}
	var drawn textWriter
	if err := code.Save(&drawn); err != nil {
		return nil, fmt.Errorf("draw a QR code: %w", err)
	}
	return drawn.lines, nil
}

// textWriter is the library's Writer.
type textWriter struct{ lines []string }

var (
	_ qrcode.Writer = (*textWriter)(nil)
	_ io.Closer     = (*textWriter)(nil)
)

// Write draws the modules.
func (w *textWriter) Write(m qrcode.Matrix) error {
	modules := m.Bitmap()
	dark := func(x, y int) bool {
		return y >= 0 && y < len(modules) && x >= 0 && x < len(modules[y]) && modules[y][x]
	}
	const blackOnWhite, reset = "\x1b[30;107m", "\x1b[0m"
	for y := -quiet; y < m.Height()+quiet; y += 2 {
		var line strings.Builder
		line.WriteString(blackOnWhite)
		for x := -quiet; x < m.Width()+quiet; x++ {
			switch {
			case dark(x, y) && dark(x, y+1):
				line.WriteRune('█')
			case dark(x, y):
				line.WriteRune('▀')
			case dark(x, y+1):
				line.WriteRune('▄')
			default:
				line.WriteByte(' ')
			}
		}
		w.lines = append(w.lines, line.String()+reset)
	}
	return nil
}

// Close ends it.
func (w *textWriter) Close() error { return nil }
