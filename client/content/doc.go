// Package content is a torrent's data while the torrent runs: which of its pieces are
// there, wanted and open, what readers wait for, and what is remembered of it for the
// next run. It puts together the files (package disk) and the choice of what to ask
// for (package picker), and knows nothing of peers but what a source.Source is.
//
//	c, err := content.Open(cfg)   // looks at the files
//	found, err := c.Check(ctx)    // hashes what has to be; takes its time
//	c.Begin(found)                // in the event loop from here on
//	c.Select(files)
//	c.Drop()                      // gives open pieces up
//	c.Wait()                      // for the disk
//	err = c.Close(c.Last())       // saves the state
//
// A Content lives from one check of the files to the end of what follows it: a
// torrent that is stopped, checked anew or moved gets another. What outlives it are
// the [Readers].
//
// Methods belong to the torrent's event loop, unless they say otherwise.
package content
