package main

import "testing"

func TestGCPercent(t *testing.T) {
	for _, live := range []uint64{0, 1 << 20, 3 << 20, 8 << 20, 20 << 20, 100 << 20} {
		percent := gcPercent(live)
		goal := live + live*uint64(percent)/100
		if percent < heapGrowth || goal > max(heapFloor, 2*live) {
			t.Errorf("of %d live bytes %d %%: the heap would grow to %d", live, percent, goal)
		}
	}
	if percent := gcPercent(16 << 20); percent != heapGrowth {
		t.Errorf("of 16 MiB %d %%, want %d", percent, heapGrowth)
	}
	for _, live := range []uint64{200 << 20, 1 << 40} {
		if percent := gcPercent(live); percent != 25 {
			t.Errorf("of %d live bytes %d %%, want 25", live, percent)
		}
	}
	if percent := gcPercent(4 << 20); (4<<20)*(100+percent)/100 < heapFloor*3/4 {
		t.Errorf("of 4 MiB %d %%: collected before the floor", percent)
	}
}
