package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// hang is how long a pull from a registry that does not answer is kept waiting.
// The kubelet ends no pod that has a pull under way, so this also is how long
// such a pod may take to go; containerd asks twice.
const hang = 15 * time.Second

// serveRegistry answers every pull as a registry would that does not have the
// image, so that a pod with a wrong image fails here as it does in the world,
// and at once. What kind of failure it is, the repository's name says:
//
//	…unauthorized…  401: a private repository, and no credentials
//	…broken…        500: the registry has a bad day
//	…hang…          no answer for 15 s, then 504, as from a gateway
//	anything else   404: no such manifest
func serveRegistry(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "registry: listening on", address)
	mux := http.NewServeMux()
	mux.HandleFunc("/token", func(w http.ResponseWriter, _ *http.Request) {
		// An anonymous token is given to anybody; it opens no private repository.
		json.NewEncoder(w).Encode(map[string]string{"token": "anonymous"}) //nolint:errcheck // the client went away
	})
	mux.HandleFunc("/v2/", answer)
	server := http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	return server.Serve(listener)
}

func answer(w http.ResponseWriter, r *http.Request) {
	repository := strings.TrimPrefix(r.URL.Path, "/v2/")
	if i := strings.LastIndex(repository, "/manifests/"); i >= 0 {
		repository = repository[:i]
	}
	fmt.Fprintln(os.Stderr, "registry:", r.Method, r.URL)
	switch {
	case strings.Contains(repository, "unauthorized"):
		challenge := fmt.Sprintf(`Bearer realm="http://%s/token",service="registry",scope="repository:%s:pull"`, r.Host, repository)
		if r.Header.Get("Authorization") != "" {
			challenge += `,error="insufficient_scope"`
		}
		w.Header().Set("WWW-Authenticate", challenge)
		fail(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
	case strings.Contains(repository, "broken"):
		fail(w, http.StatusInternalServerError, "UNKNOWN", "unknown error")
	case strings.Contains(repository, "hang"):
		select {
		case <-time.After(hang):
		case <-r.Context().Done():
		}
		fail(w, http.StatusGatewayTimeout, "UNKNOWN", "the registry did not answer")
	default:
		fail(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "manifest unknown")
	}
}

// fail writes an error the way the distribution specification has it.
func fail(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{ //nolint:errcheck // the client went away
		"errors": []map[string]string{{"code": code, "message": message}},
	})
}
