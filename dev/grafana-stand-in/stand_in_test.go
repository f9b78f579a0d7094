package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	goodDatasource = "apiVersion: 1\ndatasources:\n- {name: Prometheus, uid: prometheus, type: prometheus, access: proxy, url: 'http://p:9090', isDefault: true}\n"
	goodDashboard  = `{"uid":"a","title":"A","schemaVersion":41,"panels":[{"id":1,"type":"stat","title":"P","gridPos":{"x":0,"y":0,"w":1,"h":1},"targets":[{"expr":"up","datasource":{"uid":"prometheus"}}]}]}`
)

// provisioned writes files in the way of a mounted ConfigMap: real ones in a hidden folder, links to them.
func provisioned(t *testing.T, datasources string, dashboards ...string) string {
	t.Helper()
	root := t.TempDir()
	boards := filepath.Join(root, "boards")
	put := func(folder, name, text string) {
		hidden := filepath.Join(folder, "..data")
		if err := os.MkdirAll(hidden, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(hidden, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	put(filepath.Join(root, "datasources"), "d.yaml", datasources)
	put(filepath.Join(root, "dashboards"), "p.yaml", fmt.Sprintf("apiVersion: 1\nproviders:\n- {name: x, type: file, options: {path: %s}}\n", boards))
	for index, text := range dashboards {
		put(boards, fmt.Sprintf("%d.json", index), text)
	}
	return root
}

func TestRefuses(t *testing.T) {
	changed := func(old, replacement string) string { return strings.Replace(goodDashboard, old, replacement, 1) }
	for name, test := range map[string]struct {
		datasources string
		dashboards  []string
		reason      string
	}{
		"an unknown key":              {strings.Replace(goodDatasource, "isDefault", "readonly: true, isDefault", 1), []string{goodDashboard}, "readonly"},
		"a datasource without uid":    {strings.Replace(goodDatasource, "uid: prometheus, ", "", 1), []string{goodDashboard}, "uid"},
		"two defaults":                {goodDatasource + "- {name: B, uid: b, type: prometheus, url: 'http://b', isDefault: true}\n", []string{goodDashboard}, "only one datasource"},
		"a uid that is there twice":   {goodDatasource, []string{goodDashboard, changed(`"title":"A"`, `"title":"B"`)}, "uid a is already"},
		"a title that is there twice": {goodDatasource, []string{goodDashboard, changed(`"uid":"a"`, `"uid":"b"`)}, "title"},
		"schema v2":                   {goodDatasource, []string{`{"uid":"a","title":"A","elements":{},"layout":{}}`}, "v2 format"},
		"no schema version":           {goodDatasource, []string{changed(`"schemaVersion":41,`, "")}, "schemaVersion"},
		"an unknown datasource":       {goodDatasource, []string{changed(`"uid":"prometheus"`, `"uid":"thanos"`)}, "thanos"},
		"a datasource by name":        {goodDatasource, []string{changed(`{"uid":"prometheus"}`, `"Prometheus"`)}, "not named by uid"},
		"a panel without a position":  {goodDatasource, []string{changed(`"gridPos":{"x":0,"y":0,"w":1,"h":1},`, "")}, "gridPos"},
		"no title":                    {goodDatasource, []string{changed(`"title":"A",`, "")}, "title cannot be empty"},
		"broken JSON":                 {goodDatasource, []string{goodDashboard[1:]}, "0.json"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := readContent(provisioned(t, test.datasources, test.dashboards...))
			if err == nil || !strings.Contains(err.Error(), test.reason) {
				t.Fatalf("want %q, got %v", test.reason, err)
			}
		})
	}
}

func TestServes(t *testing.T) {
	prometheus := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("the password went to Prometheus")
		}
		fmt.Fprintf(w, "%s?%s", r.URL.Path, r.URL.RawQuery)
	}))
	defer prometheus.Close()
	read, err := readContent(provisioned(t, strings.Replace(goodDatasource, "http://p:9090", prometheus.URL, 1), goodDashboard))
	if err != nil {
		t.Fatal(err)
	}
	account, err := openAccount(filepath.Join(t.TempDir(), "db"), "admin", "secret")
	if err != nil {
		t.Fatal(err)
	}
	handler := newSite(read, account).handler()
	ask := func(method, path, password, body string) (int, string) {
		request := httptest.NewRequest(method, path, strings.NewReader(body))
		if password != "" {
			request.SetBasicAuth("admin", password)
		}
		response := httptest.NewRecorder()
		handler.ServeHTTP(response, request)
		return response.Code, response.Body.String()
	}
	for _, test := range []struct {
		path, password string
		status         int
		contains       string
	}{
		{"/api/health", "", 200, `"database":"ok"`},
		{"/metrics", "", 200, "grafana_stat_totals_dashboard 1"},
		{"/api/search", "", 401, "Unauthorized"},
		{"/api/search", "wrong", 401, "Invalid username or password"},
		{"/api/search?query=a", "secret", 200, `"uid":"a"`},
		{"/api/search?query=zzz", "secret", 200, "[]"},
		{"/api/dashboards/uid/a", "secret", 200, `"provisioned":true`},
		{"/api/dashboards/uid/b", "secret", 404, "Dashboard not found"},
		{"/api/datasources", "secret", 200, `"readOnly":true`},
		{"/api/datasources/uid/prometheus", "secret", 200, `"uid":"prometheus"`},
		{"/api/datasources/uid/prometheus/health", "secret", 200, `"status":"OK"`},
		{"/api/datasources/proxy/uid/prometheus/api/v1/query?query=up%7Bjob%3D%22a%22%7D", "secret", 200, "/api/v1/query?query=up%7Bjob%3D%22a%22%7D"},
		{"/api/datasources/proxy/uid/none/api/v1/query", "secret", 404, "not found"},
		{"/api/user", "secret", 200, `"login":"admin"`},
		{"/api/nonsense", "secret", 404, "Not found"},
	} {
		if status, body := ask("GET", test.path, test.password, ""); status != test.status || !strings.Contains(body, test.contains) {
			t.Errorf("%s: %d %s", test.path, status, body)
		}
	}
	if status, body := ask("PUT", "/api/user/password", "secret", `{"oldPassword":"no","newPassword":"changed"}`); status != 401 {
		t.Errorf("a wrong old password: %d %s", status, body)
	}
	if status, body := ask("PUT", "/api/user/password", "secret", `{"oldPassword":"secret","newPassword":"changed"}`); status != 200 {
		t.Errorf("the right old password: %d %s", status, body)
	}
	if status, _ := ask("GET", "/api/user", "changed", ""); status != 200 {
		t.Errorf("the new password: %d", status)
	}
	// A restart with another password in the settings changes nothing: the database has one.
	again, err := openAccount(account.path, "admin", "third")
	if err != nil {
		t.Fatal(err)
	}
	if !again.allows("admin", "changed") || again.allows("admin", "third") {
		t.Error("the settings' password replaced the database's")
	}
}

// The project's own files are taken as they are.
func TestTakesTheProjectsDashboards(t *testing.T) {
	files, err := filepath.Glob("../../dashboards/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v %v", files, err)
	}
	var dashboards []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !json.Valid(text) {
			t.Fatalf("%s is no JSON", file)
		}
		dashboards = append(dashboards, string(text))
	}
	datasources, err := os.ReadFile("../../assets/grafana/config/datasources.yaml")
	if err != nil {
		t.Fatal(err)
	}
	read, err := readContent(provisioned(t, string(datasources), dashboards...))
	if err != nil {
		t.Fatal(err)
	}
	if len(read.dashboards) != len(files) {
		t.Errorf("read %d of %d", len(read.dashboards), len(files))
	}
}

func TestPasswordSettings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := func(values map[string]string) func(string) string {
		return func(name string) string { return values[name] }
	}
	got, err := settingsFrom(env(map[string]string{"GF_SECURITY_ADMIN_PASSWORD__FILE": file}))
	if err != nil || got.password != "from-file" || got.address != ":3000" {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := settingsFrom(env(map[string]string{"GF_SECURITY_ADMIN_PASSWORD__FILE": file, "GF_SECURITY_ADMIN_PASSWORD": "x"})); err == nil {
		t.Error("both were taken")
	}
	if _, err := settingsFrom(env(map[string]string{"GF_SECURITY_ADMIN_PASSWORD__FILE": file + "-missing"})); err == nil {
		t.Error("a missing file was taken")
	}
}
