// Package picker decides which block is asked of which peer. It knows pieces and
// who has them; it knows nothing of sockets, clocks or memory, which are handed
// in. It is not safe for concurrent use: a torrent's event loop owns it.
//
//	p := picker.New(picker.Config{Pieces: n, Blocks: blocksOf, Begin: begin})
//	p.AddPeer(peer); p.PeerHas(peer, 7)
//	for _, r := range p.Pick(nil, peer, 10) { send(r) }
//	others := p.Received(peer, r) // cancel r at others
//	p.Done(piece, true)
//
// For each choice the following is considered, in this order:
//
//  1. pieces with a deadline, the earliest first: what a player waits for;
//  2. pieces that this peer began: whole runs from one peer read well at its disk,
//     and a wrong piece then has one culprit;
//  3. a new piece, the rarest first with ties at random, or the next in order;
//  4. pieces that others began and that have blocks nobody was asked for;
//  5. blocks whose peers are late or have gone quiet;
//  6. at the end, when every block was asked for, blocks that another peer still
//     owes us. Whoever comes second is told at once that it need not send any more.
package picker
