//go:build !linux

package websocket_test

func runAsChild() {}
