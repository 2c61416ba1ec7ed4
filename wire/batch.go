package wire

import (
	"math/bits"
	"sync"
	"time"
)

// batchMemory is the memory of one batch: blocks and their headers.
type batchMemory struct {
	data    []byte
	headers [maxBatch * pieceHeaderLen]byte
}

const pieceHeaderLen = 13

// batches holds memory for 1, 2, 4, ... maxBatch blocks: a peer that is sent little
// at a time pins little.
var batches [5]sync.Pool

// batchSize returns where in batches to look for memory of n bytes.
func batchSize(n int) int { return bits.Len(uint(n-1) / BlockSize) }

func getBatch(size int) *batchMemory {
	if mem, ok := batches[size].Get().(*batchMemory); ok {
		return mem
	}
	return &batchMemory{data: make([]byte, BlockSize<<size)}
}

// writeBlocks sends control and then w.run, read with one call.
func (w *Writer) writeBlocks(control []byte) error {
	total := 0
	for _, b := range w.run {
		total += int(b.Length)
	}
	size := batchSize(total)
	mem := getBatch(size)
	defer batches[size].Put(mem)
	data := mem.data[:total]
	if err := w.cfg.Source.ReadBlocks(data, w.run[0].Piece, w.run[0].Begin); err != nil {
		return w.readFailed(control, err)
	}
	parts := w.parts[:0]
	if len(control) > 0 {
		parts = append(parts, control)
	}
	headers := mem.headers[:0]
	for _, b := range w.run {
		m := b.message(Piece)
		start := len(headers)
		headers = m.AppendTo(headers)
		parts = append(parts, headers[start:len(headers):len(headers)], data[:b.Length:b.Length])
		data = data[b.Length:]
	}
	start := time.Now()
	if err := w.write(parts); err != nil {
		return err
	}
	switch took := time.Since(start); {
	case took < fastWrite:
		w.batch = min(w.batch*2, maxBatch)
	case took > slowWrite:
		w.batch = max(w.batch/2, minBatch)
	}
	if w.cfg.Served != nil {
		w.cfg.Served(w.run[0].Piece, int64(total))
	}
	return nil
}

// readFailed goes on after the disk failed for w.run: what was queued before it is
// sent, and the peer told that the blocks will not come.
func (w *Writer) readFailed(control []byte, cause error) error {
	if w.cfg.ReadFailed != nil {
		w.cfg.ReadFailed(w.run[0], cause)
	}
	if w.cfg.Reject {
		for _, b := range w.run {
			m := b.message(Reject)
			control = m.AppendTo(control)
		}
	}
	if len(control) == 0 {
		return nil
	}
	return w.writeControl(control)
}
