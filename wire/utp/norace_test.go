//go:build !race

package utp

// slower is by how much paths are slower than those of the measurements.
const slower = 1
