package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// content is everything that was provisioned.
type content struct {
	datasources []datasource
	dashboards  []dashboard
	// interval is how often the most impatient provider wants its folder read again.
	interval time.Duration
}

// readContent reads all provisioning files and the dashboards that they name, or says what is wrong
// with the first of them that Grafana would not take.
func readContent(root string) (*content, error) {
	read := &content{interval: time.Minute}
	uids := map[string]string{}
	defaults := ""
	err := eachFile(filepath.Join(root, "datasources"), func(path string) error {
		var file datasourceFile
		if err := decodeStrictly(path, &file); err != nil {
			return err
		}
		for _, source := range file.Datasources {
			if err := source.check(); err != nil {
				return fmt.Errorf("%s: datasource %q: %w", path, source.Name, err)
			}
			for _, key := range []string{"uid " + source.UID, "name " + source.Name} {
				if other, taken := uids[key]; taken {
					return fmt.Errorf("%s: datasource %s is already in %s", path, key, other)
				}
				uids[key] = path
			}
			if source.IsDefault {
				if defaults != "" {
					return fmt.Errorf("%s: datasource.yaml config is invalid: only one datasource per organization can be marked as default: %q and %q", path, defaults, source.Name)
				}
				defaults = source.Name
			}
			read.datasources = append(read.datasources, source)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	providers := map[string]string{}
	err = eachFile(filepath.Join(root, "dashboards"), func(path string) error {
		var file providerFile
		if err := decodeStrictly(path, &file); err != nil {
			return err
		}
		if file.APIVersion != 1 {
			return fmt.Errorf("%s: apiVersion must be 1", path)
		}
		for _, provider := range file.Providers {
			if err := provider.check(); err != nil {
				return fmt.Errorf("%s: provider %q: %w", path, provider.Name, err)
			}
			if other, taken := providers[provider.Name]; taken {
				return fmt.Errorf("%s: provider %q is already in %s", path, provider.Name, other)
			}
			providers[provider.Name] = path
			dashboards, err := readDashboards(provider)
			if err != nil {
				return err
			}
			read.dashboards = append(read.dashboards, dashboards...)
			if seconds := provider.UpdateIntervalSeconds; seconds > 0 {
				read.interval = min(read.interval, time.Duration(seconds)*time.Second)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return read, checkTogether(read)
}

type datasourceFile struct {
	APIVersion  int          `yaml:"apiVersion"`
	Prune       bool         `yaml:"prune"`
	Datasources []datasource `yaml:"datasources"`
	Delete      []struct {
		Name  string `yaml:"name"`
		OrgID int64  `yaml:"orgId"`
	} `yaml:"deleteDatasources"`
}

type datasource struct {
	OrgID           int64             `yaml:"orgId" json:"orgId"`
	UID             string            `yaml:"uid" json:"uid"`
	Name            string            `yaml:"name" json:"name"`
	Type            string            `yaml:"type" json:"type"`
	Access          string            `yaml:"access" json:"access"`
	URL             string            `yaml:"url" json:"url"`
	User            string            `yaml:"user" json:"user"`
	Database        string            `yaml:"database" json:"database"`
	BasicAuth       bool              `yaml:"basicAuth" json:"basicAuth"`
	BasicAuthUser   string            `yaml:"basicAuthUser" json:"-"`
	WithCredentials bool              `yaml:"withCredentials" json:"-"`
	IsDefault       bool              `yaml:"isDefault" json:"isDefault"`
	Editable        bool              `yaml:"editable" json:"-"`
	ReadOnly        bool              `yaml:"-" json:"readOnly"`
	Version         int               `yaml:"version" json:"-"`
	JSONData        map[string]any    `yaml:"jsonData" json:"jsonData"`
	SecureJSONData  map[string]string `yaml:"secureJsonData" json:"-"`
}

func (d datasource) check() error {
	target, err := url.Parse(d.URL)
	switch {
	case d.Name == "":
		return errors.New("it has no name")
	case !uidPattern.MatchString(d.UID):
		return fmt.Errorf("uid %q: it needs a fixed one of letters, digits, - and _, at most 40", d.UID)
	case d.Type != "prometheus":
		return fmt.Errorf("type %q is not one that this stand-in knows (prometheus)", d.Type)
	case d.Access != "" && d.Access != "proxy":
		return fmt.Errorf("access %q: Prometheus is reached through Grafana (proxy) only", d.Access)
	case err != nil || (target.Scheme != "http" && target.Scheme != "https") || target.Host == "":
		return fmt.Errorf("url %q is no http URL", d.URL)
	case strings.Contains(d.URL, "$"):
		return fmt.Errorf("url %q: Grafana would fill in a variable, which this stand-in cannot", d.URL)
	}
	return nil
}

type providerFile struct {
	APIVersion int        `yaml:"apiVersion"`
	Providers  []provider `yaml:"providers"`
}

type provider struct {
	Name                  string `yaml:"name"`
	OrgID                 int64  `yaml:"orgId"`
	Folder                string `yaml:"folder"`
	FolderUID             string `yaml:"folderUid"`
	Type                  string `yaml:"type"`
	DisableDeletion       bool   `yaml:"disableDeletion"`
	Editable              bool   `yaml:"editable"`
	UpdateIntervalSeconds int64  `yaml:"updateIntervalSeconds"`
	AllowUIUpdates        bool   `yaml:"allowUiUpdates"`
	Options               struct {
		Path                      string `yaml:"path"`
		FoldersFromFilesStructure bool   `yaml:"foldersFromFilesStructure"`
	} `yaml:"options"`
}

func (p provider) check() error {
	switch {
	case p.Name == "":
		return errors.New("it has no name")
	case p.Type != "file":
		return fmt.Errorf("type %q is not supported (file)", p.Type)
	case p.Options.Path == "":
		return errors.New("options.path is missing")
	case p.Options.FoldersFromFilesStructure && (p.Folder != "" || p.FolderUID != ""):
		return errors.New("foldersFromFilesStructure leaves no place for folder and folderUid")
	case strings.Contains(p.Options.Path, "$"):
		return fmt.Errorf("options.path %q: Grafana would fill in a variable, which this stand-in cannot", p.Options.Path)
	}
	return nil
}

// decodeStrictly reads one YAML document and refuses keys that the format does not have.
func decodeStrictly(path string, into any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(into); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// eachFile visits the YAML files of a provisioning folder; a missing folder is an empty one.
func eachFile(folder string, visit func(path string) error) error {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	sort.Slice(entries, func(i, j int) bool { return entries[i].Name() < entries[j].Name() })
	for _, entry := range entries {
		if extension := filepath.Ext(entry.Name()); extension == ".yaml" || extension == ".yml" {
			if err := visit(filepath.Join(folder, entry.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
