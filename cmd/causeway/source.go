package main

import (
	"context"

	"github.com/causeway-bt/causeway/client/meta"
)

// load reads a source, and warns of what was left out of it.
func (a *app) load(ctx context.Context, source string) (*meta.Source, error) {
	loader := meta.Loader{Stdin: a.in}
	src, err := loader.Load(ctx, source)
	if err != nil {
		return nil, err
	}
	for _, warning := range src.Warnings {
		a.warn("", warning)
	}
	return src, nil
}
