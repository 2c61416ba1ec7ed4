//go:build !linux

package disk

// BootID is unknown: only what was synced is relied on after a crash.
func BootID() string { return "" }
