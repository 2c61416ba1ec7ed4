package picker

// rarity is an ordering of pieces by how many peers have them, in buckets of equal
// count. All changes take time in proportion to the number of buckets that the
// piece crosses, which is one for a peer's arrival or departure.
type rarity struct {
	count  []int32 // by piece: peers that have it, seeds apart
	place  []int32 // by piece: its index in pieces, -1 if it is not there
	pieces []int32 // bucket after bucket
	end    []int   // end[c] is the end of bucket c in pieces
	random func(int) int
}

func newRarity(n int, random func(int) int) rarity {
	r := rarity{count: make([]int32, n), place: make([]int32, n), end: []int{0}, random: random}
	for i := range r.place {
		r.place[i] = -1
	}
	return r
}

func (r *rarity) swap(i, j int) {
	a, b := r.pieces[i], r.pieces[j]
	r.pieces[i], r.pieces[j] = b, a
	r.place[a], r.place[b] = int32(j), int32(i)
}

func (r *rarity) begin(bucket int) int {
	if bucket == 0 {
		return 0
	}
	return r.end[bucket-1]
}

// shuffle puts a piece at a random place of its bucket.
func (r *rarity) shuffle(piece int) {
	c := int(r.count[piece])
	begin := r.begin(c)
	r.swap(int(r.place[piece]), begin+r.random(r.end[c]-begin))
}

// up moves a piece to the next bucket.
func (r *rarity) up(piece int, bucket int) {
	r.end[bucket]--
	r.swap(int(r.place[piece]), r.end[bucket])
}

// down moves a piece to the bucket before.
func (r *rarity) down(piece int, bucket int) {
	r.swap(int(r.place[piece]), r.end[bucket-1])
	r.end[bucket-1]++
}

func (r *rarity) increment(piece int) {
	c := int(r.count[piece])
	r.count[piece]++
	if c+1 == len(r.end) {
		r.end = append(r.end, len(r.pieces))
	}
	if r.place[piece] >= 0 {
		r.up(piece, c)
		r.shuffle(piece)
	}
}

func (r *rarity) decrement(piece int) {
	c := int(r.count[piece])
	r.count[piece]--
	if r.place[piece] >= 0 {
		r.down(piece, c)
		r.shuffle(piece)
	}
}

func (r *rarity) insert(piece int) {
	if r.place[piece] >= 0 {
		return
	}
	last := len(r.end) - 1
	r.pieces = append(r.pieces, int32(piece))
	r.place[piece] = int32(len(r.pieces) - 1)
	r.end[last]++
	for c := last; c > int(r.count[piece]); c-- {
		r.down(piece, c)
	}
	r.shuffle(piece)
}

func (r *rarity) remove(piece int) {
	if r.place[piece] < 0 {
		return
	}
	for c := int(r.count[piece]); c < len(r.end); c++ {
		r.up(piece, c)
	}
	r.pieces = r.pieces[:len(r.pieces)-1]
	r.place[piece] = -1
}
