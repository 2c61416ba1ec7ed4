package main

import (
	"context"

	"github.com/causeway-bt/causeway/client/meta"
	"github.com/causeway-bt/causeway/client/network"
)

// load reads a source, and warns of what was left out of it. It is fetched from the
// addresses of --listen, "" any.
func (a *app) load(ctx context.Context, source, listen string) (*meta.Source, error) {
	way, err := a.network(listen)
	if err != nil {
		return nil, err
	}
	loader := meta.Loader{Stdin: a.in, Network: way}
	src, err := loader.Load(ctx, source)
	if err != nil {
		return nil, err
	}
	for _, warning := range src.Warnings {
		a.warn("", warning)
	}
	return src, nil
}

// network is the way to the outside for what is not done by the engine.
func (a *app) network(listen string) (*network.Network, error) {
	bind, err := network.ParseBind(listen)
	if err != nil {
		return nil, usagef("--listen: %v", err)
	}
	way, err := network.New(network.Config{Bind: bind})
	if err != nil {
		return nil, usagef("--listen: %v", err)
	}
	return way, nil
}
