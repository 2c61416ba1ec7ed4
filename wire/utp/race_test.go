//go:build race

package utp

// slower is by how much paths are slower under the race detector, which makes packets ten times as expensive.
const slower = 8
