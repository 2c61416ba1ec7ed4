package relay

import (
	"crypto/hmac"
	"crypto/sha1" // what TURN clients and servers agree on (draft-uberti-behave-turn-rest-00)
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/pion/turn/v5"
)

// ErrNoSecret means that there is no Config.Secret to make credentials with.
var ErrNoSecret = errors.New("relay: no secret to make TURN credentials with")

// maxUsername bounds the names of users, in bytes (RFC 8489 section 14.3 has 509).
const maxUsername = 256

// Credentials makes a user name and password for TURN that end after ttl: "expiry" or
// "expiry:name", with the time in Unix seconds, and the base64 of its HMAC-SHA1. Those of one
// name share the bounds of one user. The error is ErrNoSecret.
func (s *Server) Credentials(name string, ttl time.Duration) (username, password string, err error) {
	if s.config.Secret == "" {
		return "", "", ErrNoSecret
	}
	username = strconv.FormatInt(s.config.Now().Add(ttl).Unix(), 10)
	if name != "" {
		username += ":" + name
	}
	return username, sign(s.config.Secret, username), nil
}

func sign(secret, username string) string {
	mac := hmac.New(sha1.New, []byte(secret))
	mac.Write([]byte(username))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// authorize is pion's turn.AuthHandler: it returns the user's id, by which bounds are kept,
// and the key that the request must be signed with (RFC 8489 section 9.2.2).
func (s *Server) authorize(request *turn.RequestAttributes) (id string, key []byte, ok bool) {
	username := request.Username
	if request.Realm != s.config.Realm || len(username) > maxUsername {
		return "", nil, false
	}
	if password, known := s.config.Users[username]; known {
		return "user " + username, turn.GenerateAuthKey(username, s.config.Realm, password), true
	}
	if s.config.Secret == "" {
		return "", nil, false
	}
	expiry, name, named := strings.Cut(username, ":")
	seconds, err := strconv.ParseInt(expiry, 10, 64)
	if err != nil || s.config.Now().Unix() >= seconds {
		return "", nil, false
	}
	if !named {
		name = username
	}
	return "name " + name, turn.GenerateAuthKey(username, s.config.Realm, sign(s.config.Secret, username)), true
}
