//! What this host has that could bring an image to a node.

use std::{
    ffi::OsStr,
    fs::{self, File},
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::route::{Host, Program};

/// Where things are, unless somebody moved them.
#[derive(Clone, Debug)]
pub struct Locations {
    /// containerd's socket.
    pub containerd_socket: PathBuf,
    /// The folder that MicroK8s' containerd side-loads from.
    pub microk8s_folder: PathBuf,
    /// The folder that k3s side-loads from.
    pub k3s_folder: PathBuf,
}

impl Default for Locations {
    fn default() -> Self {
        Self {
            containerd_socket: "/run/containerd/containerd.sock".into(),
            microk8s_folder: "/var/snap/microk8s/common/etc/sideload".into(),
            k3s_folder: "/var/lib/rancher/k3s/agent/images".into(),
        }
    }
}

/// Looks at this host: its name, the programs on `path` (the value of `PATH`), sockets and folders.
///
/// Whether a folder can be written to is found out by writing an empty hidden file and removing it.
pub fn probe(path: &OsStr, locations: &Locations) -> Host {
    let found = |program: Program| {
        std::env::split_paths(path)
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join(program.name()))
            .find(|file| is_program(file))
            .map(|file| (program, file))
    };
    Host {
        name: name(),
        programs: Program::ALL.into_iter().filter_map(found).collect(),
        containerd_socket: is_socket(&locations.containerd_socket).then(|| locations.containerd_socket.clone()),
        microk8s_folder: is_writable(&locations.microk8s_folder).then(|| locations.microk8s_folder.clone()),
        k3s_folder: is_writable(&locations.k3s_folder).then(|| locations.k3s_folder.clone()),
    }
}

/// The host's name as the kernel has it, else as it was configured; empty if neither can be read.
fn name() -> String {
    ["/proc/sys/kernel/hostname", "/etc/hostname"]
        .into_iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .map(|name| name.trim().to_owned())
        .find(|name| !name.is_empty())
        .unwrap_or_default()
}

fn is_program(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

fn is_socket(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

fn is_writable(folder: &Path) -> bool {
    let trial = folder.join(format!(".scalekit-{}", std::process::id()));
    let created = File::create_new(&trial).is_ok();
    // Removing fails only when the folder went away in between.
    created && fs::remove_file(&trial).is_ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn finds_what_is_there_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        for folder in ["first", "second", "sideload"] {
            fs::create_dir(at(folder)).unwrap();
        }
        fs::write(at("first/docker"), "not executable").unwrap();
        fs::write(at("second/docker"), "").unwrap();
        fs::set_permissions(at("second/docker"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(at("second/ctr")).unwrap();
        let _listener = UnixListener::bind(at("containerd.sock")).unwrap();

        let locations = Locations {
            containerd_socket: at("containerd.sock"),
            microk8s_folder: at("sideload"),
            k3s_folder: at("missing"),
        };
        let path = std::env::join_paths([at("first"), at("second"), PathBuf::from(".")]).unwrap();
        let host = probe(&path, &locations);
        assert_eq!(host.programs, [(Program::Docker, at("second/docker"))].into());
        assert_eq!(host.containerd_socket, Some(at("containerd.sock")));
        assert_eq!(host.microk8s_folder, Some(at("sideload")));
        assert_eq!(host.k3s_folder, None);
        assert!(!host.name.is_empty());
        assert_eq!(fs::read_dir(at("sideload")).unwrap().count(), 0, "the trial leaves nothing behind");
    }

    #[test]
    fn a_plain_file_is_no_socket() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("containerd.sock");
        fs::write(&file, "").unwrap();
        let host = probe(OsStr::new(""), &Locations { containerd_socket: file, ..Locations::default() });
        assert_eq!(host.containerd_socket, None);
        assert!(host.programs.is_empty());
    }
}
