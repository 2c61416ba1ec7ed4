package client

import (
	"context"
	"errors"
)

func (t *Torrent) moveFiles(ctx context.Context, dir string) error { return errors.New("not yet") }

func (t *Torrent) forget(data bool) error { return nil }
