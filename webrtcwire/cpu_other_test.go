//go:build !unix

package webrtcwire

import "time"

// processCPU is not known here.
func processCPU() time.Duration { return 0 }
