package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// version is Grafana's whose answers these are; build_info says whose program it is.
const version = "13.2.2"

type site struct {
	content atomic.Pointer[content]
	account *account
	started time.Time
}

func newSite(read *content, account *account) *site {
	s := &site{account: account, started: time.Now()}
	s.content.Store(read)
	return s
}

// keepReading takes over what has changed; what cannot be taken is said, and the old stays.
func (s *site) keepReading(ctx context.Context, provisioning string) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(s.content.Load().interval):
		}
		read, err := readContent(provisioning)
		if err != nil {
			log.Printf("keeping what was read before: %v", err)
			continue
		}
		s.content.Store(read)
	}
}

func (s *site) handler() http.Handler {
	open := http.NewServeMux()
	open.HandleFunc("GET /api/health", s.health)
	open.HandleFunc("GET /metrics", s.metrics)
	open.HandleFunc("GET /{$}", s.frontPage)

	closed := http.NewServeMux()
	closed.HandleFunc("GET /api/search", s.search)
	closed.HandleFunc("GET /api/dashboards/uid/{uid}", s.dashboard)
	closed.HandleFunc("GET /api/datasources", s.datasources)
	closed.HandleFunc("GET /api/datasources/uid/{uid}", s.datasource)
	closed.HandleFunc("GET /api/datasources/uid/{uid}/health", s.datasourceHealth)
	closed.HandleFunc("/api/datasources/proxy/uid/{uid}/{path...}", s.proxy)
	closed.HandleFunc("GET /api/user", s.user)
	closed.HandleFunc("PUT /api/user/password", s.changePassword)
	closed.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusNotFound, message("Not found"))
	})
	open.Handle("/", s.login(closed))
	return open
}

func (s *site) login(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, given := r.BasicAuth()
		switch {
		case !given:
			answer(w, http.StatusUnauthorized, message("Unauthorized"))
		case !s.account.allows(user, password):
			answer(w, http.StatusUnauthorized, message("Invalid username or password"))
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func (s *site) health(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{"database": "ok", "version": version, "commit": "grafana-stand-in"})
}

func (s *site) frontPage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, "<!doctype html><title>Not Grafana</title><p>This is a stand-in for Grafana on a test cluster, not Grafana. It has read %d dashboards.</p>", len(s.content.Load().dashboards))
}

func (s *site) search(w http.ResponseWriter, r *http.Request) {
	query := strings.ToLower(r.URL.Query().Get("query"))
	found := []map[string]any{}
	for index, board := range s.content.Load().dashboards {
		if strings.Contains(strings.ToLower(board.title), query) {
			tags := board.tags
			if tags == nil {
				tags = []string{}
			}
			found = append(found, map[string]any{
				"id": index + 1, "uid": board.uid, "title": board.title, "url": "/d/" + board.uid, "type": "dash-db",
				"tags": tags, "isStarred": false, "folderTitle": board.folder.Folder, "folderUid": board.folder.FolderUID,
			})
		}
	}
	answer(w, http.StatusOK, found)
}

func (s *site) dashboard(w http.ResponseWriter, r *http.Request) {
	for _, board := range s.content.Load().dashboards {
		if board.uid == r.PathValue("uid") {
			answer(w, http.StatusOK, map[string]any{
				"meta": map[string]any{
					"type": "db", "url": "/d/" + board.uid, "provisioned": true, "canSave": board.folder.AllowUIUpdates,
					"folderTitle": board.folder.Folder, "folderUid": board.folder.FolderUID,
				},
				"dashboard": board.model,
			})
			return
		}
	}
	answer(w, http.StatusNotFound, message("Dashboard not found"))
}

func (s *site) datasources(w http.ResponseWriter, _ *http.Request) {
	all := []datasource{}
	for _, source := range s.content.Load().datasources {
		all = append(all, shown(source))
	}
	answer(w, http.StatusOK, all)
}

func (s *site) datasource(w http.ResponseWriter, r *http.Request) {
	if source, found := s.find(w, r); found {
		answer(w, http.StatusOK, shown(source))
	}
}

// shown fills in what Grafana fills in.
func shown(source datasource) datasource {
	source.ReadOnly = !source.Editable
	source.Access = "proxy"
	source.OrgID = max(source.OrgID, 1)
	return source
}

func (s *site) find(w http.ResponseWriter, r *http.Request) (datasource, bool) {
	for _, source := range s.content.Load().datasources {
		if source.UID == r.PathValue("uid") {
			return source, true
		}
	}
	answer(w, http.StatusNotFound, message("Data source not found"))
	return datasource{}, false
}

// datasourceHealth asks what Grafana's Prometheus datasource asks.
func (s *site) datasourceHealth(w http.ResponseWriter, r *http.Request) {
	source, found := s.find(w, r)
	if !found {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), 10*time.Second)
	defer cancel()
	err := func() error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(source.URL, "/")+"/api/v1/query?query=1%2B1", nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return errors.New(response.Status)
		}
		return nil
	}()
	if err != nil {
		answer(w, http.StatusBadRequest, map[string]any{"status": "ERROR", "message": err.Error()})
		return
	}
	answer(w, http.StatusOK, map[string]any{"status": "OK", "message": "Successfully queried the Prometheus API."})
}

func (s *site) proxy(w http.ResponseWriter, r *http.Request) {
	source, found := s.find(w, r)
	if !found {
		return
	}
	target, err := url.Parse(source.URL)
	if err != nil {
		answer(w, http.StatusInternalServerError, message(err.Error()))
		return
	}
	(&httputil.ReverseProxy{
		Rewrite: func(request *httputil.ProxyRequest) {
			request.Out.URL.Path, request.Out.URL.RawPath = "/"+request.In.PathValue("path"), ""
			request.SetURL(target)
			// The user's password is Grafana's own affair.
			request.Out.Header.Del("Authorization")
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			answer(w, http.StatusBadGateway, message(err.Error()))
		},
	}).ServeHTTP(w, r)
}

func (s *site) user(w http.ResponseWriter, r *http.Request) {
	login, _, _ := r.BasicAuth()
	answer(w, http.StatusOK, map[string]any{"id": 1, "login": login, "orgId": 1, "isGrafanaAdmin": true})
}

func (s *site) changePassword(w http.ResponseWriter, r *http.Request) {
	var wanted struct{ OldPassword, NewPassword string }
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<16)).Decode(&wanted); err != nil {
		answer(w, http.StatusBadRequest, message("bad request data"))
		return
	}
	if len(wanted.NewPassword) < 4 {
		answer(w, http.StatusBadRequest, message("New password is too short"))
		return
	}
	switch err := s.account.change(wanted.OldPassword, wanted.NewPassword); {
	case errors.Is(err, errWrongPassword):
		answer(w, http.StatusUnauthorized, message("Invalid old password"))
	case err != nil:
		answer(w, http.StatusInternalServerError, message(err.Error()))
	default:
		answer(w, http.StatusOK, message("User password changed"))
	}
}

// metrics are a few of Grafana's own, with its names.
func (s *site) metrics(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	gauge := func(kind, name, help string, value any) {
		bare, _, _ := strings.Cut(name, "{")
		fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n%s %v\n", bare, help, bare, kind, name, value)
	}
	gauge("gauge", fmt.Sprintf(`grafana_build_info{branch="none",edition="stand-in",revision="grafana-stand-in",version=%q}`, version), "This is a stand-in for Grafana, not Grafana.", 1)
	gauge("gauge", "grafana_stat_totals_dashboard", "total amount of dashboards", len(s.content.Load().dashboards))
	var used syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &used) == nil {
		seconds := time.Duration(used.Utime.Nano()+used.Stime.Nano()) * time.Nanosecond
		gauge("counter", "process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", seconds.Seconds())
	}
	if text, err := os.ReadFile("/proc/self/statm"); err == nil {
		if fields := strings.Fields(string(text)); len(fields) > 1 {
			if pages, err := strconv.ParseInt(fields[1], 10, 64); err == nil {
				gauge("gauge", "process_resident_memory_bytes", "Resident memory size in bytes.", pages*int64(os.Getpagesize()))
			}
		}
	}
	gauge("gauge", "process_start_time_seconds", "Start time of the process since unix epoch in seconds.", s.started.Unix())
}

func message(text string) map[string]any { return map[string]any{"message": text} }

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		log.Printf("an answer was not sent: %v", err)
	}
}
