//go:build !race

package webrtcwire

const raceSlowdown = 1
