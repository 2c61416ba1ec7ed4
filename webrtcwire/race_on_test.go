//go:build race

package webrtcwire

// raceSlowdown is how much less is done under the race detector.
const raceSlowdown = 5
