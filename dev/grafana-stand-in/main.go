// The grafana-stand-in takes Grafana's place on test clusters that cannot have the real one.
// It is not Grafana: see README.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("grafana-stand-in: ")
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	settings, err := settingsFrom(os.Getenv)
	if err != nil {
		return err
	}
	content, err := readContent(settings.provisioning)
	if err != nil {
		return err
	}
	account, err := openAccount(filepath.Join(settings.data, "grafana-stand-in.json"), settings.user, settings.password)
	if err != nil {
		return err
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	site := newSite(content, account)
	go site.keepReading(ctx, settings.provisioning)
	server := &http.Server{Addr: settings.address, Handler: site.handler(), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	log.Printf("this is not Grafana; listening on %s with %d dashboards and %d datasources",
		settings.address, len(content.dashboards), len(content.datasources))
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	// Connections that are kept open would hold the pod for its whole grace period.
	deadline, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := server.Shutdown(deadline); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

type settings struct {
	provisioning, data, address, user, password string
}

// settingsFrom reads the settings as Grafana's image does.
func settingsFrom(env func(string) string) (settings, error) {
	or := func(name, fallback string) string {
		if value := env(name); value != "" {
			return value
		}
		return fallback
	}
	password, file := env("GF_SECURITY_ADMIN_PASSWORD"), env("GF_SECURITY_ADMIN_PASSWORD__FILE")
	switch {
	case password != "" && file != "":
		return settings{}, errors.New("both GF_SECURITY_ADMIN_PASSWORD and GF_SECURITY_ADMIN_PASSWORD__FILE are set (but are exclusive)")
	case file != "":
		text, err := os.ReadFile(file)
		if err != nil {
			return settings{}, fmt.Errorf("the admin password: %w", err)
		}
		password = trimNewline(string(text))
		if password == "" {
			return settings{}, fmt.Errorf("the admin password: %s is empty", file)
		}
	case password == "":
		password = "admin"
	}
	return settings{
		provisioning: or("GF_PATHS_PROVISIONING", "/etc/grafana/provisioning"),
		data:         or("GF_PATHS_DATA", "/var/lib/grafana"),
		address:      net.JoinHostPort(env("GF_SERVER_HTTP_ADDR"), or("GF_SERVER_HTTP_PORT", "3000")),
		user:         or("GF_SECURITY_ADMIN_USER", "admin"),
		password:     password,
	}, nil
}

// trimNewline does what the shell's $(<file) does.
func trimNewline(text string) string {
	for len(text) > 0 && text[len(text)-1] == '\n' {
		text = text[:len(text)-1]
	}
	return text
}
