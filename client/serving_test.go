package client

import "testing"

// What is kept for browsers when it is not said, and when none are to be.
func TestSlotsForBrowsers(t *testing.T) {
	for _, test := range []struct{ slots, web, want int }{
		{0, 0, 4}, {16, 0, 4}, {3, 0, 1}, {2, 0, 1}, {1, 0, 0}, // the default
		{8, 8, 8}, {8, 1, 1}, {8, -1, 0}, {0, -1, 0},
	} {
		cfg := web(t)
		cfg.Slots, cfg.WebSlots = test.slots, test.web
		if got := newClient(t, cfg).slots(Limits{}).Web; got != test.want {
			t.Errorf("%d of %d slots: %d are kept for browsers, want %d", test.web, test.slots, got, test.want)
		}
	}
	cfg := web(t)
	cfg.DisableWebRTC = true
	if got := newClient(t, cfg).slots(Limits{}).Web; got != 0 {
		t.Errorf("%d slots are kept for browsers that cannot come", got)
	}
}
