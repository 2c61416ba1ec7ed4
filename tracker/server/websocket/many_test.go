package websocket_test

func runAsChild() {}
