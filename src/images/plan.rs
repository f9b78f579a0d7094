//! What is run on a route, word for word. Pure.
//!
//! containerd names and labels images per namespace; the kubelet sees those in `k8s.io`.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use super::route::Route;

/// containerd's mark for images that the kubelet's garbage collection leaves alone.
///
/// It is a label of the image's record in containerd, not of the image itself, so the archive cannot
/// carry it. `ctr images import --label` came with containerd 2.0 (containerd#9476); `ctr images label`
/// works everywhere. The 1.6 of Debian 12 keeps the label and does not heed it; 1.7.8 heeds it from its
/// next start on (containerd#9328).
const PINNED: &str = "io.cri-containerd.pinned=pinned";

/// Our mark at images of `images load`: `down` takes the pin off them, and they are as any that was pulled.
pub(super) const LOADED: &str = "scalekit.dev/loaded=true";
/// Arguments that take both marks off.
pub(super) const UNPINNED: [&str; 2] = ["io.cri-containerd.pinned=", "scalekit.dev/loaded="];

/// A program with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Where the program is.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
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
    /// The nodes that take the image from there; empty where that is not known.
    pub nodes: Vec<String>,
    /// Getting the archive in.
    pub import: Import,
    /// Prints the image's name if it is there; `None` where nobody can be asked.
    pub check: Option<Command>,
    /// Keeps it from the kubelet's garbage collection. Good to have: its failure fails nothing.
    pub pin: Option<Command>,
}

/// What is run to look for our images in one place and to take them away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// By asking containerd.
    Ctr {
        /// The place.
        place: String,
        /// Prints a table of all images.
        list: Command,
        /// Takes images away; their names follow its arguments.
        remove: Command,
        /// Changes labels; a name and labels follow its arguments.
        label: Command,
    },
    /// By deleting files from a folder.
    Folder {
        /// The place.
        place: String,
        /// The folder.
        folder: PathBuf,
    },
}

/// What has to be run to bring the image to each place that the route leads to.
pub fn plan(route: &Route, reference: &str) -> Vec<Steps> {
    match route {
        Route::MicroK8sFolder { folder, node } | Route::K3sFolder { folder, node } => {
            let import = Import::Place { folder: folder.clone(), file: file_name(reference) };
            vec![Steps { place: at(node), nodes: vec![node.clone()], import, check: None, pin: None }]
        }
        Route::Containerd { .. } | Route::Kind { .. } | Route::MicroK8s { .. } | Route::K3s { .. } => {
            ctrs(route).into_iter().map(|ctr| ctr.steps(route, reference)).collect()
        }
    }
}

/// What has to be run to bring an archive of these images to each place that the route leads to: each image is
/// looked for and pinned after the import.
pub fn archive(route: &Route, file: &str, names: &[String]) -> Vec<Loading> {
    match route {
        Route::MicroK8sFolder { folder, node } | Route::K3sFolder { folder, node } => {
            let import = Import::Place { folder: folder.clone(), file: file.to_owned() };
            vec![Loading { place: at(node), nodes: vec![node.clone()], import, images: Vec::new() }]
        }
        Route::Containerd { .. } | Route::Kind { .. } | Route::MicroK8s { .. } | Route::K3s { .. } => {
            ctrs(route).into_iter().map(|ctr| ctr.loading(route, names)).collect()
        }
    }
}

/// All that is done for one place that takes an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loading {
    /// The place, as a user would name it.
    pub place: String,
    /// The nodes that take the images from there; empty where that is not known.
    pub nodes: Vec<String>,
    /// Getting the archive in.
    pub import: Import,
    /// Each image in it, with what asks for it and what pins it; empty where nobody can be asked.
    pub images: Vec<LoadedImage>,
}

/// What is done about one image after the import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedImage {
    /// Its name.
    pub name: String,
    /// Prints the name if it is there.
    pub check: Command,
    /// Keeps it from the kubelet's garbage collection.
    pub pin: Command,
}

/// What has to be run to take our images away from each place that the route leads to.
pub fn removals(route: &Route) -> Vec<Removal> {
    match route {
        Route::MicroK8sFolder { folder, node } | Route::K3sFolder { folder, node } => {
            vec![Removal::Folder { place: at(node), folder: folder.clone() }]
        }
        Route::Containerd { .. } | Route::Kind { .. } | Route::MicroK8s { .. } | Route::K3s { .. } => ctrs(route)
            .into_iter()
            .map(|ctr| Removal::Ctr {
                list: ctr.command(&["images", "ls"]),
                remove: ctr.command(&["images", "rm", "--sync"]),
                label: ctr.command(&["images", "label"]),
                place: ctr.place,
            })
            .collect(),
    }
}

/// The name of the archive in a folder.
pub(super) fn file_name(reference: &str) -> String {
    format!("{FILE_PREFIX}{}.tar", reference.rsplit(':').next().unwrap_or(reference))
}

/// What the names of our archives begin with.
pub(super) const FILE_PREFIX: &str = "scalekit-";

/// What the names of archives of `images load` begin with: another prefix, for `up` takes old images of ours away.
pub(super) const AIR_GAP_PREFIX: &str = "airgap-scalekit-";

fn at(node: &str) -> String {
    format!("node {node}")
}

/// A `ctr` that speaks to one containerd.
struct Ctr<'a> {
    place: String,
    nodes: Vec<String>,
    program: &'a Path,
    /// What comes before the `ctr` command proper.
    prefix: Vec<String>,
}

impl Ctr<'_> {
    fn command(&self, arguments: &[&str]) -> Command {
        let arguments = self.prefix.iter().cloned().chain(arguments.iter().map(ToString::to_string)).collect();
        Command { program: self.program.to_owned(), arguments }
    }

    fn steps(self, route: &Route, reference: &str) -> Steps {
        let import = match route {
            // As `kind load image-archive` does it.
            Route::Kind { .. } => {
                let options = ["--all-platforms", "--digests", "--snapshotter=overlayfs"];
                let mut command = self.command(&[&["images", "import"], &options[..], &["-"]].concat());
                command.arguments.insert(1, "-i".to_owned());
                command
            }
            Route::MicroK8s { .. } => microk8s_import(self.program),
            _ => self.command(&["images", "import", "-"]),
        };
        Steps {
            import: Import::Run(import),
            check: Some(self.check(reference)),
            pin: Some(self.pin(reference)),
            place: self.place,
            nodes: self.nodes,
        }
    }

    fn loading(self, route: &Route, names: &[String]) -> Loading {
        let import = match route {
            // For this platform alone: an archive may name others that are not in it.
            Route::Kind { .. } => {
                let mut command = self.command(&["images", "import", "--snapshotter=overlayfs", "-"]);
                command.arguments.insert(1, "-i".to_owned());
                command
            }
            Route::MicroK8s { .. } => microk8s_import(self.program),
            _ => self.command(&["images", "import", "-"]),
        };
        let image = |name: &String| {
            let mut pin = self.pin(name);
            pin.arguments.push(LOADED.to_owned());
            LoadedImage { name: name.clone(), check: self.check(name), pin }
        };
        let images = names.iter().map(image).collect();
        Loading { import: Import::Run(import), images, place: self.place, nodes: self.nodes }
    }

    fn check(&self, reference: &str) -> Command {
        self.command(&["images", "ls", "--quiet", &format!("name=={reference}")])
    }

    fn pin(&self, reference: &str) -> Command {
        self.command(&["images", "label", reference, PINNED])
    }
}

/// Sends what it reads to all nodes, through their cluster agents.
fn microk8s_import(program: &Path) -> Command {
    Command { program: program.to_owned(), arguments: ["images", "import", "-"].map(str::to_owned).to_vec() }
}

fn ctrs(route: &Route) -> Vec<Ctr<'_>> {
    let one = |place, program, nodes, prefix: &[&str]| {
        vec![Ctr { place, nodes, program, prefix: prefix.iter().map(ToString::to_string).collect() }]
    };
    match route {
        Route::Containerd { ctr, socket, node } => {
            let socket = socket.to_string_lossy();
            let place = node.as_ref().map_or_else(|| format!("the containerd at {socket}"), |node| at(node));
            one(place, ctr, node.iter().cloned().collect(), &["--address", &socket, "--namespace", "k8s.io"])
        }
        Route::Kind { program, containers } => containers
            .iter()
            .flat_map(|node| {
                let prefix = ["exec", &node.container, "ctr", "--namespace=k8s.io"];
                one(at(&node.node), program, vec![node.node.clone()], &prefix)
            })
            .collect(),
        // Speaks of the node that this host is.
        Route::MicroK8s { microk8s, nodes } => {
            one("MicroK8s".to_owned(), microk8s, nodes.clone(), &["ctr", "--namespace", "k8s.io"])
        }
        Route::K3s { k3s, node } => one(at(node), k3s, vec![node.clone()], &["ctr", "--namespace", "k8s.io"]),
        Route::MicroK8sFolder { .. } | Route::K3sFolder { .. } => Vec::new(),
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
        let microk8s = lines(&Route::MicroK8s { microk8s: "/snap/bin/microk8s".into(), nodes: Vec::new() });
        assert_eq!(microk8s[1], "microk8s images import -");
        assert_eq!(
            microk8s[2],
            "microk8s ctr --namespace k8s.io images ls --quiet name==scalekit.local/scalekit:0.1.0-0123456789ab"
        );
        let k3s = lines(&Route::K3s { k3s: "/usr/local/bin/k3s".into(), node: "pi".into() });
        assert_eq!(k3s[1], "k3s ctr --namespace k8s.io images import -");
    }

    #[test]
    fn an_archive_goes_in_once_and_each_image_is_looked_for_and_pinned() {
        let containers = vec![NodeContainer { node: "dev-worker".into(), container: "dev-worker".into() }];
        let names = ["quay.io/a/b:1".to_owned(), "quay.io/a/b@sha256:1".to_owned()];
        let kind = archive(&Route::Kind { program: "/usr/bin/docker".into(), containers }, "x.tar", &names);
        let [Loading { place, import: Import::Run(import), images, .. }] = kind.as_slice() else { panic!("{kind:?}") };
        assert_eq!(place, "node dev-worker");
        let expected = "docker exec -i dev-worker ctr --namespace=k8s.io images import --snapshotter=overlayfs -";
        assert_eq!(import.to_string(), expected);
        assert_eq!(images.iter().map(|image| &image.name).collect::<Vec<_>>(), names.iter().collect::<Vec<_>>());
        assert_eq!(
            images[1].pin.to_string(),
            "docker exec dev-worker ctr --namespace=k8s.io images label quay.io/a/b@sha256:1 io.cri-containerd.pinned=pinned \
             scalekit.dev/loaded=true"
        );
        let folder = archive(&Route::K3sFolder { folder: "/images".into(), node: "pi".into() }, "x.tar", &names);
        assert_eq!(folder[0].import, Import::Place { folder: "/images".into(), file: "x.tar".into() });
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

    #[test]
    fn images_are_taken_away_where_they_were_brought() {
        let containers = vec![NodeContainer { node: "dev-worker".into(), container: "dev-worker".into() }];
        let kind = removals(&Route::Kind { program: "/usr/bin/docker".into(), containers });
        let [Removal::Ctr { place, list, remove, .. }] = kind.as_slice() else { panic!("{kind:?}") };
        assert_eq!(place, "node dev-worker");
        assert_eq!(list.to_string(), "docker exec dev-worker ctr --namespace=k8s.io images ls");
        assert_eq!(remove.to_string(), "docker exec dev-worker ctr --namespace=k8s.io images rm --sync");
        let folder = removals(&Route::K3sFolder { folder: "/images".into(), node: "pi".into() });
        assert_eq!(folder, [Removal::Folder { place: "node pi".into(), folder: "/images".into() }]);
    }
}
