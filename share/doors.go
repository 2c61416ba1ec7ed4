package share

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// maxGuessers bounds the addresses whose wrong passwords are remembered. Beyond,
	// nobody's password is taken until some of them have been forgotten.
	maxGuessers = 10_000
	// guessBurst is how many wrong passwords an address may give, and guessEvery how long
	// it takes to get another try.
	guessBurst = 10
	guessEvery = 10 * time.Second
)

// doors says who is in: who knew the password, and whose views are counted.
type doors struct {
	needsPassword bool
	views         int // 0: not counted
	password      [sha256.Size]byte
	key           []byte // of cookies
	announceKey   string
	cookie        string

	mu       sync.Mutex
	viewed   map[string]bool // sessions that are views; bounded by views
	inside   int             // requests being answered for them
	lastUse  time.Time
	guessers map[netip.Prefix]*rate.Limiter
}

func newDoors(cfg Config) *doors {
	key := cfg.Key
	if len(key) == 0 {
		key = []byte(rand.Text())
	}
	d := &doors{
		needsPassword: cfg.Password != "", views: cfg.Views, password: sha256.Sum256([]byte(cfg.Password)),
		key:    keyed(key, "session", cfg.Password),
		viewed: map[string]bool{}, guessers: map[netip.Prefix]*rate.Limiter{},
	}
	const shown = 8 // bytes; shares of one machine must not take each other's cookies
	d.cookie = "causeway_" + hex.EncodeToString(keyed(key, "cookie")[:shown])
	d.announceKey = hex.EncodeToString(keyed(key, "announce")[:16])
	return d
}

func keyed(key []byte, words ...string) []byte {
	mac := hmac.New(sha256.New, key)
	for _, word := range words {
		_, _ = mac.Write([]byte(word))
		_, _ = mac.Write([]byte{0})
	}
	return mac.Sum(nil)
}

// newID returns an id that nobody guesses.
func newID() string { return strings.ToLower(rand.Text()) }

// isID reports whether a text has the form of what newID returns.
func isID(text string) bool {
	const length = 26
	return len(text) == length && strings.Trim(text, "abcdefghijklmnopqrstuvwxyz234567") == ""
}

// guarded reports whether sessions matter.
func (d *doors) guarded() bool { return d.needsPassword || d.views > 0 }

func (d *doors) isKey(key string) bool {
	return subtle.ConstantTimeCompare([]byte(key), []byte(d.announceKey)) == 1
}

// sign makes a cookie's value of a session's id.
func (d *doors) sign(id string) string { return id + "." + hex.EncodeToString(keyed(d.key, id)) }

// session returns the id of the session that a request has, or "".
func (d *doors) session(r *http.Request) string {
	for _, c := range r.CookiesNamed(d.cookie) {
		id, _, _ := strings.Cut(c.Value, ".")
		if len(c.Value) < 256 && hmac.Equal([]byte(c.Value), []byte(d.sign(id))) {
			return id
		}
	}
	return ""
}

// begin gives a browser a session. The cookie ends with the browser.
func (d *doors) begin(w http.ResponseWriter, r *http.Request) string {
	id := newID()
	http.SetCookie(w, &http.Cookie{
		Name: d.cookie, Value: d.sign(id), Path: "/", HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteLaxMode,
	})
	return id
}

// verdict is what a password is worth.
type verdict int

const (
	wrong verdict = iota
	right
	tooMany // wrong ones from this address
)

// try compares a password, in a time that tells nothing of it.
func (d *doors) try(password string, from netip.Prefix) verdict {
	given := sha256.Sum256([]byte(password))
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.guessers[from]
	switch {
	case l != nil && l.Tokens() < 1:
		return tooMany
	case l == nil && len(d.guessers) >= maxGuessers && !d.forgetGuessers():
		return tooMany
	case subtle.ConstantTimeCompare(given[:], d.password[:]) == 1:
		return right
	}
	if l == nil {
		l = rate.NewLimiter(rate.Every(guessEvery), guessBurst)
		d.guessers[from] = l
	}
	l.Allow()
	return wrong
}

// forgetGuessers forgets those who may guess as often as anybody. d.mu is held.
func (d *doors) forgetGuessers() bool {
	for from, l := range d.guessers {
		if l.Tokens() >= guessBurst {
			delete(d.guessers, from)
		}
	}
	return len(d.guessers) < maxGuessers
}

// view counts a session as a view, if there is one left.
func (d *doors) view(session string) bool {
	if d.views == 0 {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if session == "" {
		return false
	}
	if !d.viewed[session] {
		if len(d.viewed) >= d.views {
			return false
		}
		d.viewed[session] = true
	}
	d.lastUse = time.Now()
	return true
}

// mayView reports whether a session is a view or could be one.
func (d *doors) mayView(session string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.views == 0 || d.viewed[session] {
		d.lastUse = time.Now()
		return true
	}
	return len(d.viewed) < d.views
}

// visit counts a request while it is answered; what it returns ends that.
func (d *doors) visit() func() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.inside++
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.inside--
		d.lastUse = time.Now()
	}
}

// usedUp reports whether all views were had and all viewers have gone.
func (d *doors) usedUp(now time.Time, linger time.Duration) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.views > 0 && len(d.viewed) >= d.views && d.inside == 0 && now.Sub(d.lastUse) > linger
}

// counted returns the views so far.
func (d *doors) counted() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.viewed)
}
