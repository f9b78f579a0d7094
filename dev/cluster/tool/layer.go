package main

import (
	"archive/tar"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// busyboxFile is Debian's static busybox, relative to ROOT.
const busyboxFile = "debian/busybox-static/bin/busybox"

// Every image knows the users that upstream images run as: Prometheus' base
// images have nobody, Google's distroless ones nonroot too.
const (
	passwd = "root:x:0:0:root:/root:/bin/sh\nnonroot:x:65532:65532:nonroot:/home/nonroot:/bin/false\nnobody:x:65534:65534:nobody:/home:/bin/false\n"
	group  = "root:x:0:\nnonroot:x:65532:\nnobody:x:65534:\n"
)

// entry is one file, directory or link of a layer.
type entry struct {
	header tar.Header
	source string // a file of this machine, or else
	text   string
}

// entries lists what the image holds, sorted by path, parents first.
func (r recipe) entries(root string) ([]entry, error) {
	all := map[string]entry{}
	text := func(name, content string) {
		all[name] = entry{header: tar.Header{Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(content))}, text: content}
	}
	program := func(name, source string) error {
		info, err := os.Stat(source)
		if err != nil {
			return err
		}
		header := tar.Header{Typeflag: tar.TypeReg, Mode: 0o755, Size: info.Size()}
		if slices.Contains(r.BindPorts, name) {
			header.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": capNetBindService}
		}
		all[name] = entry{header: header, source: source}
		return nil
	}

	all["/tmp"] = entry{header: tar.Header{Typeflag: tar.TypeDir, Mode: 0o1777}}
	text("/etc/passwd", passwd)
	text("/etc/group", group)
	text("/etc/nsswitch.conf", "hosts: files dns\n")
	for _, name := range sortedKeys(r.Texts) {
		text(name, r.Texts[name])
	}
	for name, owner := range r.Dirs {
		all[name] = entry{header: tar.Header{Typeflag: tar.TypeDir, Mode: 0o775, Uid: owner, Gid: owner}}
	}
	for name, source := range r.Programs {
		if err := program(name, filepath.Join(root, source)); err != nil {
			return nil, err
		}
	}
	if r.Busybox {
		busybox := filepath.Join(root, busyboxFile)
		if err := program("/bin/busybox", busybox); err != nil {
			return nil, err
		}
		applets, err := exec.Command(busybox, "--list").Output()
		if err != nil {
			return nil, fmt.Errorf("%s --list: %w", busybox, err)
		}
		for _, applet := range strings.Fields(string(applets)) {
			if applet != "busybox" {
				all["/bin/"+applet] = entry{header: tar.Header{Typeflag: tar.TypeSymlink, Mode: 0o777, Linkname: "busybox"}}
			}
		}
	}
	for _, name := range sortedKeys(all) {
		for dir := path.Dir(name); dir != "/"; dir = path.Dir(dir) {
			if _, ok := all[dir]; !ok {
				all[dir] = entry{header: tar.Header{Typeflag: tar.TypeDir, Mode: 0o755}}
			}
		}
	}

	var entries []entry
	for _, name := range sortedKeys(all) {
		e := all[name]
		e.header.Name = strings.TrimPrefix(name, "/")
		entries = append(entries, e)
	}
	return entries, nil
}

// capNetBindService is CAP_NET_BIND_SERVICE as the kernel keeps it with a file:
// revision 2 and "effective", the permitted set, the inheritable set.
const capNetBindService = "\x01\x00\x00\x02" + "\x00\x04\x00\x00\x00\x00\x00\x00" + "\x00\x00\x00\x00\x00\x00\x00\x00"

func writeLayer(w io.Writer, entries []entry) error {
	archive := tar.NewWriter(w)
	for _, e := range entries {
		if err := archive.WriteHeader(&e.header); err != nil {
			return err
		}
		if err := e.copyTo(archive); err != nil {
			return err
		}
	}
	return archive.Close()
}

func (e entry) copyTo(w io.Writer) error {
	if e.source == "" {
		_, err := io.WriteString(w, e.text)
		return err
	}
	file, err := os.Open(e.source)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(w, file)
	return err
}
