//go:build !linux

package webrtcwire

// canSegment says that this system has no UDP_SEGMENT.
const canSegment = false

const segmentControlSize = 0

func segmentControl(b []byte, _ int) []byte { return b }

func refusesSegments(error) bool { return true }
