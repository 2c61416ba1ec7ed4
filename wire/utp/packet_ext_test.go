package utp

import "testing"

// libutp (utp_internal.cpp, UTP_Version; utp_process_incoming) takes only packets whose first
// extension is below 3 for those of version 1, and those whose extension 2 is of another length than 8
// for broken. Transmission answered our SYN in the protocol of version 0.
func TestLibutpUnderstandsOurExtensions(t *testing.T) {
	var h header
	syn := make([]byte, headerSize)
	h.put(syn, extBits)
	syn = appendLarge(appendBits(syn, extLarge), extEnd, 1472)
	packets := [][]byte{syn}
	for n := leastPad; n < 800; n++ {
		probe := make([]byte, headerSize)
		h.put(probe, extBits)
		if probe = appendPad(probe, n); len(probe) != headerSize+n {
			t.Fatalf("a pad of %d bytes takes %d", n, len(probe)-headerSize)
		}
		packets = append(packets, append(probe, 'x'))
	}
	for i, b := range packets {
		if b[1] >= 3 || b[1] == extBits && b[headerSize+1] != 8 {
			t.Fatalf("libutp drops % x", b)
		}
		var p packet
		if !p.parse(b) || i == 0 && p.large != 1472 || i > 0 && string(p.payload) != "x" {
			t.Fatalf("we do not read % x", b)
		}
	}
}
