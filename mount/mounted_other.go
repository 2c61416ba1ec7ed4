//go:build !linux && !darwin

package mount

// Options are of one mount.
type Options struct{ AllowOther, NoPassthrough bool }

// Mounted is an FS that is mounted, which none is on this system.
type Mounted struct{}

// Mount returns ErrNoFUSE.
func (fs *FS) Mount(string, Options) (*Mounted, error) { return nil, ErrNoFUSE }

// Dir is where it is mounted.
func (*Mounted) Dir() string { return "" }

// Passthrough reports whether finished files are read by the kernel alone.
func (*Mounted) Passthrough() bool { return false }

// Done is closed when it is not mounted any more.
func (*Mounted) Done() <-chan struct{} { return nil }

// Unmount takes it away.
func (*Mounted) Unmount() (busy bool, err error) { return false, ErrNoFUSE }

func (*Mounted) appeared() {}
