package table

import (
	"errors"
	"net/netip"
	"time"
)

// Hash is an infohash (SHA-1, or the first 20 bytes of a v2 one).
type Hash = [20]byte

// ID is a peer id.
type ID = [20]byte

// OfferID names a WebRTC offer of a web peer.
type OfferID = [20]byte

// Handle names the socket of a web peer. A front end gives each of its sockets a
// number from 1 up, below 1<<48, that it uses only once; the upper 16 bits are 0 for
// sockets of this node, and tell a cluster which other node holds the socket.
type Handle uint64

// Here says whether a socket is this node's.
func (h Handle) Here() bool { return h>>48 == 0 }

// State says what a peer has of a torrent.
type State uint8

const (
	Leech   State = iota // lacks something, or (web peers, "left":null) does not know yet
	Seed                 // has everything
	Partial              // has everything that it wants (BEP 21, event=paused)
)

// Event is why a peer announces.
type Event uint8

const (
	Update    Event = iota // at regular intervals
	Started                // joins
	Stopped                // leaves
	Completed              // has just become a seed
)

// Announce is one announce of a classic peer.
type Announce struct {
	Hash    Hash
	ID      ID
	Addr    netip.AddrPort // where the peer takes connections; not a mapped address
	State   State
	Event   Event
	NumWant int  // how many peers of each kind are wanted
	Both    bool // peers of both address families, not only of Addr's
}

// Counts are what a scrape tells of a swarm. Incomplete includes partial seeds,
// Downloaders does not (BEP 21).
type Counts struct {
	Complete, Incomplete, Downloaded, Downloaders uint32
}

// Reply is what an announce gets. Peers are appended to what the slices hold, so
// that callers choose where they are written.
type Reply struct {
	Counts
	Peers4, Peers6 []byte // compact: address and port, 6 and 18 bytes each
}

// WebAnnounce is one announce of a web peer.
type WebAnnounce struct {
	Hash   Hash
	ID     ID
	Socket Handle
	Host   netip.Addr // where the socket comes from; bounds peers per host
	State  State
	Event  Event
	Owner  bool      // the peer has shown that its id is its own: it has it, whoever had it before
	Offers []OfferID // what the peer offers to others; each goes to at most one
}

// WebReply is what a web peer's announce gets.
type WebReply struct {
	Counts
	Given  []Given // appended
	Holder Handle  // the other socket that has the peer id (ErrIDTaken), or had it until now; 0: none
}

// Given is an offer that is to be passed on to another peer.
type Given struct {
	Offer int    // which of WebAnnounce.Offers
	To    Handle // the socket that it goes to
	ID    ID     // the peer that it goes to
}

// Answer is a web peer's answer to an offer that it was given.
type Answer struct {
	Hash   Hash
	From   ID
	Socket Handle // of From
	To     ID     // whose offer it was
	Offer  OfferID
}

// Swarms is how front ends reach swarms. A Table is one; a cluster of tables is
// another, where each infohash has one owner.
//
// Announce, AnnounceWeb, Answer and Scrape answer at once, or with ErrElsewhere,
// having done nothing, if another node owns the swarm. Then the same request goes to
// the method whose name ends in Later, which calls done exactly once, from any
// goroutine, perhaps before it returns. What it is handed must not be changed
// afterwards. Other errors are Refusals, whose text is for the peer.
type Swarms interface {
	Announce(*Announce, *Reply) error
	AnnounceLater(*Announce, func(*Reply, error))

	AnnounceWeb(*WebAnnounce, *WebReply) error
	AnnounceWebLater(*WebAnnounce, func(*WebReply, error))

	// Answer returns the socket that an answer is to be passed on to.
	Answer(*Answer) (Handle, error)
	AnswerLater(*Answer, func(Handle, error))

	// Scrape of a swarm that is not known gives zeros.
	Scrape(Hash) (Counts, error)
	ScrapeLater(Hash, func(Counts, error))

	// LeaveWeb takes a web peer out of a swarm, if it is still there by this socket.
	LeaveWeb(Hash, ID, Handle)

	// Send passes a message on to the node that holds a socket which is not Here. It
	// is dropped if that node is gone. The message must not be changed afterwards.
	Send(Handle, []byte)
}

var _ Swarms = (*Table)(nil)

// ErrElsewhere says that another node owns a swarm; see Swarms.
var ErrElsewhere = errors.New("another node owns this swarm")

// Refusal is an error whose text is for the peer that asked.
type Refusal struct {
	Text    string
	RetryIn time.Duration // when it may make sense to ask again (BEP 31); 0: not said; Never: never
}

// Never as Refusal.RetryIn says that asking again makes no sense.
const Never time.Duration = -1

func (r *Refusal) Error() string { return r.Text }

// What a table refuses.
var (
	ErrSwarms        = &Refusal{"this tracker is full: it takes no further torrents", 30 * time.Minute}
	ErrPeers         = &Refusal{"this tracker is full: it takes no further peers", 30 * time.Minute}
	ErrSwarmPeers    = &Refusal{"this torrent has as many peers as this tracker takes for one", 30 * time.Minute}
	ErrHostPeers     = &Refusal{"too many peers from your address", 30 * time.Minute}
	ErrHostInSwarm   = &Refusal{"too many peers of this torrent from your address", 30 * time.Minute}
	ErrAddress       = &Refusal{"no usable address and port", Never}
	ErrIDTaken       = &Refusal{"this peer id is in use by another connection", 0}
	ErrNoOffer       = &Refusal{"no such offer was given to you; it may have expired", 0}
	ErrNotInSwarm    = &Refusal{"announce this torrent over this connection first", 0}
	ErrTooManyOffers = &Refusal{"too many offers in one announce", 0}
)

// AnnounceLater is Announce, as Swarms has it.
func (t *Table) AnnounceLater(a *Announce, done func(*Reply, error)) {
	var r Reply
	err := t.Announce(a, &r)
	done(&r, err)
}

// AnnounceWebLater is AnnounceWeb, as Swarms has it.
func (t *Table) AnnounceWebLater(a *WebAnnounce, done func(*WebReply, error)) {
	var r WebReply
	err := t.AnnounceWeb(a, &r)
	done(&r, err)
}

// AnswerLater is Answer, as Swarms has it.
func (t *Table) AnswerLater(a *Answer, done func(Handle, error)) { done(t.Answer(a)) }

// ScrapeLater is Scrape, as Swarms has it.
func (t *Table) ScrapeLater(h Hash, done func(Counts, error)) { done(t.Scrape(h)) }

// Send drops the message: a table alone knows no other nodes.
func (t *Table) Send(Handle, []byte) {}

func (s State) String() string { return [...]string{"leech", "seed", "partial seed"}[s] }

func (e Event) String() string { return [...]string{"update", "started", "stopped", "completed"}[e] }
