package websocket

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"

	"github.com/causeway-bt/causeway/tracker/server/table"
)

// tokenSize is how many bytes of a keyed hash prove that a peer id is one's own: nobody
// guesses 12 of them over a network.
const tokenSize = 12

// keys makes what is told as "tracker id".
type keys struct{ secret []byte }

func newKeys(secret []byte) keys { return keys{append([]byte(nil), secret...)} }

func randomSecret() []byte {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return b
}

// token is that of a peer id in a torrent, 16 characters that need no escapes.
func (k keys) token(hash *table.Hash, id *table.ID) string {
	mac := hmac.New(sha256.New, k.secret)
	mac.Write(hash[:])
	mac.Write(id[:])
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:tokenSize])
}

func (k keys) proves(trackerID []byte, hash *table.Hash, id *table.ID) bool {
	return len(trackerID) > 0 && hmac.Equal(trackerID, []byte(k.token(hash, id)))
}
