package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// recipe describes an image: its name, what a Dockerfile would say about how to
// run it, and its files. It has one layer, and no time of making, so the same
// inputs give the same bytes.
type recipe struct {
	Name       string   `json:"name"`
	User       string   `json:"user"`
	Entrypoint []string `json:"entrypoint"`
	Cmd        []string `json:"cmd"`
	WorkingDir string   `json:"workingDir"`
	Ports      []string `json:"ports"`
	Volumes    []string `json:"volumes"`
	// Busybox says that upstream's base image has a shell and the usual tools.
	Busybox bool `json:"busybox"`
	// Programs maps a path in the image to a file under ROOT.
	Programs map[string]string `json:"programs"`
	// BindPorts are programs that may bind ports below 1024 without being root.
	BindPorts []string `json:"bindPorts"`
	// Texts maps a path to the content of a small file.
	Texts map[string]string `json:"texts"`
	// Dirs maps a path to its owner (a user and group number).
	Dirs map[string]int `json:"dirs"`
}

// writeImages makes OUT/NAME.tar of every RECIPE (…/NAME.json) whose recipe or
// files changed since the last time, and prints name, digest and tar of each.
func writeImages(root, out string, recipes []string) error {
	for _, file := range recipes {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var r recipe
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&r); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		target := filepath.Join(out, strings.TrimSuffix(filepath.Base(file), ".json")+".tar")
		digest, err := r.writeIfChanged(root, target, text)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		fmt.Println(r.Name, digest, target)
	}
	return nil
}

// writeIfChanged leaves a note of the inputs beside the tar, with the image's
// digest in its last line, and does nothing where the note still holds.
func (r recipe) writeIfChanged(root, target string, text []byte) (string, error) {
	inputs := bytes.NewBuffer(text)
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	files := []string{self}
	if r.Busybox {
		files = append(files, filepath.Join(root, busyboxFile))
	}
	for _, name := range sortedKeys(r.Programs) {
		files = append(files, filepath.Join(root, r.Programs[name]))
	}
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			return "", err
		}
		fmt.Fprintln(inputs, file, info.Size(), info.ModTime().UnixNano())
	}
	note := target + ".inputs"
	if old, err := os.ReadFile(note); err == nil {
		if digest, same := bytes.CutPrefix(old, inputs.Bytes()); same {
			if _, err := os.Stat(target); err == nil {
				return strings.TrimSpace(string(digest)), nil
			}
		}
	}
	digest, err := r.write(root, target)
	if err != nil {
		return "", err
	}
	fmt.Fprintln(inputs, digest)
	return digest, os.WriteFile(note, inputs.Bytes(), 0o644)
}

// write makes an OCI image layout in a tar, which every tool can import.
func (r recipe) write(root, target string) (string, error) {
	entries, err := r.entries(root)
	if err != nil {
		return "", err
	}
	// A first pass learns the layer's digest and size, so that the second can
	// write it where it belongs without holding it in memory.
	var size counter
	hash := sha256.New()
	if err := writeLayer(io.MultiWriter(hash, &size), entries); err != nil {
		return "", err
	}
	layer := descriptor{"application/vnd.oci.image.layer.v1.tar", fmt.Sprintf("sha256:%x", hash.Sum(nil)), int64(size), nil}
	config, configBlob := blob("application/vnd.oci.image.config.v1+json", r.config(layer.Digest))
	manifest, manifestBlob := blob("application/vnd.oci.image.manifest.v1+json", map[string]any{
		"schemaVersion": 2,
		"mediaType":     "application/vnd.oci.image.manifest.v1+json",
		"config":        config,
		"layers":        []descriptor{layer},
	})
	manifest.Annotations = map[string]string{
		"io.containerd.image.name":          r.Name,
		"org.opencontainers.image.ref.name": r.Name[strings.LastIndex(r.Name, ":")+1:],
	}
	_, index := blob("", map[string]any{"schemaVersion": 2, "manifests": []descriptor{manifest}})

	file, err := os.Create(target + ".new")
	if err != nil {
		return "", err
	}
	defer file.Close()
	archive := tar.NewWriter(file)
	small := func(name string, content []byte) error {
		if err := archive.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
			return err
		}
		_, err := archive.Write(content)
		return err
	}
	steps := []func() error{
		func() error { return small("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)) },
		func() error { return small("index.json", index) },
		func() error { return small(manifest.path(), manifestBlob) },
		func() error { return small(config.path(), configBlob) },
		func() error {
			return archive.WriteHeader(&tar.Header{Name: layer.path(), Mode: 0o644, Size: layer.Size})
		},
		func() error { return writeLayer(archive, entries) },
		archive.Close,
		file.Close,
		func() error { return os.Rename(target+".new", target) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return "", err
		}
	}
	return manifest.Digest, nil
}

// config is what the image says about how to run it.
func (r recipe) config(layer string) any {
	set := func(names []string) map[string]struct{} {
		all := map[string]struct{}{}
		for _, name := range names {
			all[name] = struct{}{}
		}
		return all
	}
	return map[string]any{
		"created":      "1970-01-01T00:00:00Z",
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config": map[string]any{
			"User":         r.User,
			"Entrypoint":   r.Entrypoint,
			"Cmd":          r.Cmd,
			"WorkingDir":   r.WorkingDir,
			"Env":          []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
			"ExposedPorts": set(r.Ports),
			"Volumes":      set(r.Volumes),
		},
		"rootfs":  map[string]any{"type": "layers", "diff_ids": []string{layer}},
		"history": []map[string]string{{"created": "1970-01-01T00:00:00Z", "created_by": "cluster-tool"}},
	}
}

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

func (d descriptor) path() string { return "blobs/" + strings.Replace(d.Digest, ":", "/", 1) }

func blob(mediaType string, value any) (descriptor, []byte) {
	content, err := json.Marshal(value) // sorts the keys of maps
	if err != nil {
		panic(err) // values of this file only
	}
	return descriptor{mediaType, fmt.Sprintf("sha256:%x", sha256.Sum256(content)), int64(len(content)), nil}, content
}

type counter int64

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
