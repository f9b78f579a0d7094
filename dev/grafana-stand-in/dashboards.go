package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

var uidPattern = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,40}$`)

type dashboard struct {
	uid, title  string
	tags        []string
	model       map[string]any
	folder      provider
	file        string
	datasources []string
}

// readDashboards reads the JSON files under a provider's path, through the links and past the hidden
// folders of a mounted ConfigMap, as Grafana does.
func readDashboards(from provider) ([]dashboard, error) {
	root, err := filepath.EvalSymlinks(from.Options.Path)
	if err != nil {
		return nil, fmt.Errorf("provider %q: cannot read directory: %w", from.Name, err)
	}
	var read []dashboard
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if path != root && strings.HasPrefix(entry.Name(), ".") {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(path) != ".json" {
			return nil
		}
		found, err := readDashboard(path)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		found.folder = from
		read = append(read, found)
		return nil
	})
	return read, err
}

func readDashboard(path string) (dashboard, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return dashboard{}, err
	}
	var model map[string]any
	if err := json.Unmarshal(text, &model); err != nil {
		return dashboard{}, err
	}
	for _, key := range []string{"elements", "layout", "spec", "apiVersion", "kind"} {
		if _, there := model[key]; there {
			return dashboard{}, fmt.Errorf("dashboard appears to be in v2 format: it has %q", key)
		}
	}
	read := dashboard{model: model, file: path}
	read.uid, _ = model["uid"].(string)
	read.title, _ = model["title"].(string)
	for _, tag := range list(model["tags"]) {
		text, ok := tag.(string)
		if !ok {
			return dashboard{}, fmt.Errorf("tag %v is no text", tag)
		}
		read.tags = append(read.tags, text)
	}
	version, _ := model["schemaVersion"].(float64)
	switch {
	case read.title == "":
		return dashboard{}, errors.New("title cannot be empty")
	case !uidPattern.MatchString(read.uid):
		return dashboard{}, fmt.Errorf("uid %q: it needs a fixed one of letters, digits, - and _, at most 40", read.uid)
	case version < 39 || version > 42:
		return dashboard{}, fmt.Errorf("schemaVersion %v is not of the classic schema that Grafana 13 reads from files (39 to 42)", model["schemaVersion"])
	case model["id"] != nil:
		return dashboard{}, errors.New("it carries the id of another database")
	}
	return read, read.readPanels()
}

func (d *dashboard) readPanels() error {
	ids := map[float64]bool{}
	for _, item := range list(d.model["panels"]) {
		panel, ok := item.(map[string]any)
		if !ok {
			return errors.New("a panel is no object")
		}
		id, ok := panel["id"].(float64)
		if !ok || ids[id] {
			return fmt.Errorf("panel %q has no id of its own", panel["title"])
		}
		ids[id] = true
		kind, _ := panel["type"].(string)
		if kind == "" {
			return fmt.Errorf("panel %q has no type", panel["title"])
		}
		position, _ := panel["gridPos"].(map[string]any)
		for _, side := range []string{"x", "y", "w", "h"} {
			if _, ok := position[side].(float64); !ok {
				return fmt.Errorf("panel %q has no gridPos.%s", panel["title"], side)
			}
		}
		for _, target := range list(panel["targets"]) {
			query, _ := target.(map[string]any)
			source := query["datasource"]
			if source == nil {
				source = panel["datasource"]
			}
			if err := d.uses(source); err != nil {
				return fmt.Errorf("panel %q: %w", panel["title"], err)
			}
		}
	}
	if len(ids) == 0 {
		return errors.New("it has no panels")
	}
	templating, _ := d.model["templating"].(map[string]any)
	for _, item := range list(templating["list"]) {
		variable, _ := item.(map[string]any)
		if variable["type"] == "query" {
			if err := d.uses(variable["datasource"]); err != nil {
				return fmt.Errorf("variable %q: %w", variable["name"], err)
			}
		}
	}
	return nil
}

func (d *dashboard) uses(source any) error {
	reference, _ := source.(map[string]any)
	uid, _ := reference["uid"].(string)
	if uid == "" {
		return errors.New("its datasource is not named by uid")
	}
	// These are Grafana's own, and those that a variable chooses.
	if !strings.HasPrefix(uid, "-- ") && uid != "grafana" && !strings.HasPrefix(uid, "$") {
		d.datasources = append(d.datasources, uid)
	}
	return nil
}

// checkTogether refuses what only shows when everything has been read.
func checkTogether(read *content) error {
	known := map[string]bool{}
	for _, source := range read.datasources {
		known[source.UID] = true
	}
	seen := map[string]string{}
	for _, board := range read.dashboards {
		for _, key := range []string{"uid " + board.uid, fmt.Sprintf("title %q in folder %q", strings.ToLower(board.title), board.folder.Folder)} {
			if other, taken := seen[key]; taken {
				return fmt.Errorf("%s: %s is already in %s", board.file, key, other)
			}
			seen[key] = board.file
		}
		for _, uid := range board.datasources {
			if !known[uid] {
				return fmt.Errorf("%s: datasource %q was not found", board.file, uid)
			}
		}
	}
	return nil
}

func list(value any) []any {
	items, _ := value.([]any)
	return items
}
