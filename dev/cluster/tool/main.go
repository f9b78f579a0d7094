// cluster-tool holds what the test cluster needs and no package gives: its
// certificates, its container images, the registry that has no images, and the
// program that holds a pod's namespaces open.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

const usage = `usage:
  cluster-tool pki DIR NODE NODE_IP SERVICE_IP API_PORT CONTEXT
  cluster-tool images ROOT OUT RECIPE...
  cluster-tool registry ADDRESS
  pause
`

func main() {
	// In the pause image the program goes by that name.
	if filepath.Base(os.Args[0]) == "pause" {
		pause()
		return
	}
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "cluster-tool:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 7 && args[0] == "pki":
		return writePKI(args[1], node{name: args[2], ip: args[3], serviceIP: args[4], apiPort: args[5], context: args[6]})
	case len(args) > 3 && args[0] == "images":
		return writeImages(args[1], args[2], args[3:])
	case len(args) == 2 && args[0] == "registry":
		return serveRegistry(args[1])
	}
	fmt.Fprint(os.Stderr, usage)
	os.Exit(2)
	return nil
}
