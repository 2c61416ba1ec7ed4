//go:build !linux

package netns

// Do is never reached: New has skipped the test.
func (h *Host) Do(func()) { h.world.t.Fatal("network namespaces need Linux") }
