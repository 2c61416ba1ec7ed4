package websocket

import "encoding/json"

// iceJSON is what "iceServers" says; nothing where there are none.
func iceJSON(servers []ICEServer) []byte {
	if len(servers) == 0 {
		return nil
	}
	b, err := json.Marshal(servers)
	if err != nil {
		return nil // strings do not fail
	}
	return b
}
