//go:build !linux && !darwin

package mount

// backing is for kernels that read files on disk by themselves, which this is not.
type backing struct{}

func (*backing) close() {}
