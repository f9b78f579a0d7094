//! What is run on a route, word for word. Pure.
//!
//! containerd names and labels images per namespace; the kubelet sees those in `k8s.io`.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use super::{executable::REPOSITORY, route::Route};

/// containerd's mark for images that the kubelet's garbage collection leaves alone.
///
/// It is a label of the image's record in containerd, not of the image itself, so the archive cannot
/// carry it. `ctr images import --label` came with containerd 2.0 (containerd#9476); `ctr images label`
/// works everywhere. The 1.6 of Debian 12 keeps the label and does not heed it; 1.7.8 heeds it from its
/// next start on (containerd#9328).
const PINNED: &str = "io.cri-containerd.pinned=pinned";

/// A program with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Where the program is.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}

impl Command {
    fn new(program: &Path, arguments: &[&[&str]]) -> Self {
        Self { program: program.to_owned(), arguments: arguments.concat().into_iter().map(str::to_owned).collect() }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.program.file_name().unwrap_or(self.program.as_os_str()).to_string_lossy())?;
        self.arguments.iter().try_for_each(|argument| write!(f, " {argument}"))
    }
}

/// How the archive gets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Import {
    /// A command that reads it from its standard input.
    Run(Command),
    /// A file in a folder that somebody watches. It appears there whole, by renaming.
    Place {
        /// The folder.
        folder: PathBuf,
        /// The file's name.
        file: String,
    },
}

/// All that is done for one place that takes the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Steps {
    /// The place, as a user would name it: `node dev-worker`.
    pub place: String,
    /// Getting the archive in.
    pub import: Import,
    /// Prints the image's name if it is there; `None` where nobody can be asked.
    pub check: Option<Command>,
    /// Keeps it from the kubelet's garbage collection. Good to have: its failure fails nothing.
    pub pin: Option<Command>,
}

/// What has to be run, for each place that the route leads to.
pub fn plan(route: &Route, reference: &str) -> Vec<Steps> {
    match route {
        Route::Containerd { ctr, socket, node } => {
            let socket = socket.to_string_lossy();
            let place = node.as_ref().map_or_else(|| format!("the containerd at {socket}"), |node| at(node));
            vec![steps(place, ctr, &["--address", &socket, "--namespace", "k8s.io"], &["-"], reference)]
        }
        Route::Kind { program, containers } => containers
            .iter()
            .map(|node| {
                let ctr = |interactive: &[&'static str]| {
                    [&["exec"], interactive, &[node.container.as_str(), "ctr", "--namespace=k8s.io"]].concat()
                };
                // As `kind load image-archive` does it.
                let import = ["--all-platforms", "--digests", "--snapshotter=overlayfs", "-"];
                Steps {
                    import: Import::Run(Command::new(program, &[&ctr(&["-i"]), &["images", "import"], &import])),
                    ..steps(at(&node.node), program, &ctr(&[]), &[], reference)
                }
            })
            .collect(),
        Route::MicroK8s { microk8s } => {
            // `microk8s ctr` speaks of this node alone; the import goes to all.
            vec![Steps {
                import: Import::Run(Command::new(microk8s, &[&["images", "import", "-"]])),
                ..steps("MicroK8s".to_owned(), microk8s, &["ctr", "--namespace", "k8s.io"], &[], reference)
            }]
        }
        Route::K3s { k3s, node } => {
            vec![steps(at(node), k3s, &["ctr", "--namespace", "k8s.io"], &["-"], reference)]
        }
        Route::MicroK8sFolder { folder, node } | Route::K3sFolder { folder, node } => {
            let file = format!("{}.tar", reference.replace(REPOSITORY, "scalekit").replace([':', '/'], "-"));
            vec![Steps {
                place: at(node),
                import: Import::Place { folder: folder.clone(), file },
                check: None,
                pin: None,
            }]
        }
    }
}

fn at(node: &str) -> String {
    format!("node {node}")
}

/// The three commands, of one `ctr`.
fn steps(place: String, program: &Path, ctr: &[&str], import: &[&str], reference: &str) -> Steps {
    let filter = format!("name=={reference}");
    Steps {
        place,
        import: Import::Run(Command::new(program, &[ctr, &["images", "import"], import])),
        check: Some(Command::new(program, &[ctr, &["images", "ls", "--quiet", &filter]])),
        pin: Some(Command::new(program, &[ctr, &["images", "label", reference, PINNED]])),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::route::NodeContainer, *};

    const REFERENCE: &str = "scalekit.local/scalekit:0.1.0-0123456789ab";

    fn lines(route: &Route) -> Vec<String> {
        plan(route, REFERENCE)
            .iter()
            .flat_map(|steps| {
                let import = match &steps.import {
                    Import::Run(command) => command.to_string(),
                    Import::Place { folder, file } => folder.join(file).display().to_string(),
                };
                let rest = [&steps.check, &steps.pin].into_iter().flatten().map(ToString::to_string);
                [format!("# {}", steps.place), import].into_iter().chain(rest)
            })
            .collect()
    }

    #[test]
    fn containerd() {
        let node = Some("a".to_owned());
        let route = Route::Containerd { ctr: "/usr/bin/ctr".into(), socket: "/run/c.sock".into(), node };
        let expected = [
            "# node a",
            "ctr --address /run/c.sock --namespace k8s.io images import -",
            "ctr --address /run/c.sock --namespace k8s.io images ls --quiet name==scalekit.local/scalekit:0.1.0-0123456789ab",
            "ctr --address /run/c.sock --namespace k8s.io images label scalekit.local/scalekit:0.1.0-0123456789ab io.cri-containerd.pinned=pinned",
        ];
        assert_eq!(lines(&route), expected);
        let Route::Containerd { ctr, socket, .. } = route else { unreachable!() };
        assert_eq!(lines(&Route::Containerd { ctr, socket, node: None })[0], "# the containerd at /run/c.sock");
    }

    #[test]
    fn kind_as_kind_itself_does_it_in_each_node() {
        let container = |name: &str| NodeContainer { node: name.into(), container: name.into() };
        let route = Route::Kind {
            program: "/usr/bin/podman".into(),
            containers: vec![container("dev-control-plane"), container("dev-worker")],
        };
        let expected = [
            "# node dev-control-plane",
            "podman exec -i dev-control-plane ctr --namespace=k8s.io images import --all-platforms --digests --snapshotter=overlayfs -",
            "podman exec dev-control-plane ctr --namespace=k8s.io images ls --quiet name==scalekit.local/scalekit:0.1.0-0123456789ab",
            "podman exec dev-control-plane ctr --namespace=k8s.io images label scalekit.local/scalekit:0.1.0-0123456789ab io.cri-containerd.pinned=pinned",
        ];
        let lines = lines(&route);
        assert_eq!(lines[..4], expected);
        assert_eq!(lines[4], "# node dev-worker");
        assert_eq!(lines.len(), 8);
    }

    #[test]
    fn microk8s_and_k3s() {
        let microk8s = lines(&Route::MicroK8s { microk8s: "/snap/bin/microk8s".into() });
        assert_eq!(microk8s[1], "microk8s images import -");
        assert_eq!(
            microk8s[2],
            "microk8s ctr --namespace k8s.io images ls --quiet name==scalekit.local/scalekit:0.1.0-0123456789ab"
        );
        let k3s = lines(&Route::K3s { k3s: "/usr/local/bin/k3s".into(), node: "pi".into() });
        assert_eq!(k3s[1], "k3s ctr --namespace k8s.io images import -");
    }

    #[test]
    fn a_folder_gets_one_file() {
        for route in [
            Route::MicroK8sFolder { folder: "/sideload".into(), node: "pi".into() },
            Route::K3sFolder { folder: "/sideload".into(), node: "pi".into() },
        ] {
            assert_eq!(lines(&route), ["# node pi", "/sideload/scalekit-0.1.0-0123456789ab.tar"]);
        }
    }
}
