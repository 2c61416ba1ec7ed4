//go:build race

package webrtcwire

// raceSlowdown is how much longer things take under the race detector.
const raceSlowdown = 5
