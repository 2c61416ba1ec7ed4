package mount

import "github.com/hanwen/go-fuse/v2/fuse"

// backing is for kernels that read files on disk by themselves, which this is not.
type backing struct{}

func (*backing) close() {}

func (*kernel) passThrough(*file, *fuse.OpenOut) {}

// readAhead is for kernels whose reading ahead can be set, which this is not.
type readAhead struct{}

func (*readAhead) find(string) {}

func (*kernel) mayPass() bool { return false }
