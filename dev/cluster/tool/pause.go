package main

import (
	"os"
	"os/signal"
	"syscall"
)

// pause waits to be told to stop. It is the first process of every pod: the
// pod's namespaces live as long as it does, and where the pod shares its
// process namespace, it inherits and reaps the orphans.
func pause() {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for s := range signals {
		if s != syscall.SIGCHLD {
			return
		}
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
}
