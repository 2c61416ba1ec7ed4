package table

// Most swarms are small and there are very many of them. Their peers are in blocks of a
// fixed size that are chained, so that a swarm grows without copying and leaves
// nothing for the garbage collector; a shard hands out blocks from chunks and has them
// back. Swarms refer to blocks, as to everything, by number, so that the
// collector has nothing to look at either.

const (
	blockBytes  = 48 // 4 IPv4 or 2 IPv6 peers
	smallBlocks = 8  // in a chain at most
	smallBytes  = smallBlocks * blockBytes
	blockChunk  = 256 // blocks in a chunk, which fits a size class of Go's
)

type block struct {
	recs [blockBytes]byte
	next uint32 // number of the next block, plus one
}

// family is the peers of one address family in a swarm: a chain of blocks, whose first
// is the newest and alone may have free places, or a list.
type family struct {
	head uint32 // the first block's number plus one; or isList and the list's number
	n    uint32 // peers
}

const isList = 1 << 31

func (f *family) large() bool { return f.head&isList != 0 }

func (k *kind) perBlock() int { return blockBytes / k.stride }

func (s *shard) block(number uint32) *block {
	number--
	return &s.blocks[number/blockChunk][number%blockChunk]
}

func (s *shard) newBlock(next uint32) uint32 {
	number := s.freeBlock
	if number != 0 {
		s.freeBlock = s.block(number).next
	} else {
		if s.usedBlocks%blockChunk == 0 {
			s.blocks = append(s.blocks, new([blockChunk]block))
		}
		s.usedBlocks++
		number = s.usedBlocks
	}
	s.block(number).next = next
	return number
}

func (s *shard) giveBlock(number uint32) {
	s.block(number).next = s.freeBlock
	s.freeBlock = number
}

func (s *shard) list(f *family) *list { return s.lists.at(f.head &^ isList) }

// records returns a family's records side by side: those of a list themselves, those of
// blocks copied to buf.
func (s *shard) records(f *family, k *kind, buf *[smallBytes]byte) []byte {
	if f.large() {
		return s.list(f).recs
	}
	per := k.perBlock()
	for b, number := (int(f.n)+per-1)/per-1, f.head; b >= 0; b-- {
		bl := s.block(number)
		*(*[blockBytes]byte)(buf[b*blockBytes:]) = bl.recs
		number = bl.next
	}
	return buf[:int(f.n)*k.stride]
}

// record returns one record itself.
func (s *shard) record(f *family, k *kind, i int) []byte {
	if f.large() {
		return s.list(f).at(k, i)
	}
	per := k.perBlock()
	number := f.head
	for b := (int(f.n) - 1) / per; b > i/per; b-- {
		number = s.block(number).next
	}
	return s.block(number).recs[i%per*k.stride:][:k.stride]
}

// find returns a peer's place, or -1 and how many others are of its host. recs is what
// records returned.
func (s *shard) find(f *family, k *kind, recs, addr []byte) (place, sameHost int) {
	if f.large() {
		return s.list(f).find(k, addr)
	}
	return search(recs, k, addr)
}

// add adds a record.
func (s *shard) add(f *family, k *kind, rec []byte) {
	if f.large() {
		s.list(f).add(k, rec)
		f.n++
		return
	}
	per := k.perBlock()
	if int(f.n) == smallBlocks*per {
		s.enlarge(f, k)
		s.add(f, k, rec)
		return
	}
	if int(f.n)%per == 0 {
		f.head = s.newBlock(f.head)
	}
	copy(s.block(f.head).recs[int(f.n)%per*k.stride:], rec[:k.stride])
	f.n++
}

// enlarge makes a list of blocks.
func (s *shard) enlarge(f *family, k *kind) {
	l := &list{recs: make([]byte, 0, 2*smallBytes)}
	var buf [smallBytes]byte
	l.recs = append(l.recs, s.records(f, k, &buf)...)
	for number := f.head; number != 0; {
		next := s.block(number).next
		s.giveBlock(number)
		number = next
	}
	f.head = isList | s.lists.add(l)
}

// remove takes a record out; the last one takes its place.
func (s *shard) remove(f *family, k *kind, i int) {
	per := k.perBlock()
	if f.large() {
		l := s.list(f)
		l.remove(k, i)
		f.n--
		if int(f.n) < smallBlocks*per/2 {
			s.lists.remove(f.head &^ isList)
			*f = family{}
			for j := range l.len(k) {
				s.add(f, k, l.at(k, j))
			}
		}
		return
	}
	last := int(f.n) - 1
	copy(s.record(f, k, i), s.record(f, k, last))
	f.n--
	if last%per == 0 {
		old := f.head
		f.head = s.block(old).next
		s.giveBlock(old)
	}
}

// numbered holds things under numbers.
type numbered[T any] struct {
	things []*T
	free   []uint32
}

func (n *numbered[T]) at(number uint32) *T { return n.things[number] }

func (n *numbered[T]) add(t *T) uint32 {
	if last := len(n.free) - 1; last >= 0 {
		number := n.free[last]
		n.free = n.free[:last]
		n.things[number] = t
		return number
	}
	n.things = append(n.things, t)
	return uint32(len(n.things) - 1)
}

func (n *numbered[T]) remove(number uint32) {
	n.things[number] = nil
	n.free = append(n.free, number)
}
