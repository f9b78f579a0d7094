//! Which way the image goes to the nodes. Pure: what is known of the cluster and of this host comes
//! in as values, see [`super::host`].

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

/// What of the cluster's make decides how an image gets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterKind {
    /// Nodes are containers of Docker, Podman or nerdctl.
    Kind,
    /// Canonical's snap.
    MicroK8s,
    /// k3s, with its own containerd.
    K3s,
    /// Anything else.
    Other,
}

/// One node, as its object describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// `spec.providerID`; empty where there is none.
    pub provider_id: String,
    /// `status.nodeInfo.containerRuntimeVersion`, such as `containerd://2.1.4`.
    pub container_runtime: String,
    /// All names in `status.images`.
    ///
    /// The kubelet lists the 50 largest images only (`nodeStatusMaxImages`), so a name that is missing
    /// proves nothing; the image is then sent again, which does no harm.
    pub images: Vec<String>,
}

/// What is known of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Its make.
    pub kind: ClusterKind,
    /// Its nodes.
    pub nodes: Vec<Node>,
    /// The containerd socket that the user named (`--containerd-socket`); it overrides every other route.
    pub containerd_socket: Option<PathBuf>,
}

/// Programs that can load an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Program {
    /// containerd's own client.
    Ctr,
    /// Docker.
    Docker,
    /// Podman.
    Podman,
    /// nerdctl.
    Nerdctl,
    /// The snap's front end.
    MicroK8s,
    /// k3s, which has `ctr` inside.
    K3s,
}

impl Program {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Ctr, Self::Docker, Self::Podman, Self::Nerdctl, Self::MicroK8s, Self::K3s];

    /// What the command is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ctr => "ctr",
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Nerdctl => "nerdctl",
            Self::MicroK8s => "microk8s",
            Self::K3s => "k3s",
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is known of the host that this program runs on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// Its name; empty if unknown.
    pub name: String,
    /// The programs that are on `PATH`, and where.
    pub programs: BTreeMap<Program, PathBuf>,
    /// containerd's default socket, if there is one.
    pub containerd_socket: Option<PathBuf>,
    /// The folder that MicroK8s side-loads from, if it can be written to.
    pub microk8s_folder: Option<PathBuf>,
    /// The folder that k3s side-loads from, if it can be written to.
    pub k3s_folder: Option<PathBuf>,
}

impl Host {
    fn program(&self, program: Program) -> Result<PathBuf, Obstacle> {
        self.programs.get(&program).cloned().ok_or(Obstacle::CommandMissing { program })
    }

    /// Whether this host is that node. Kubelets take the host's name, in lower case, sometimes without its domain.
    fn is(&self, node: &Node) -> bool {
        let (host, node) = (self.name.to_ascii_lowercase(), node.name.to_ascii_lowercase());
        let short = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
        // Two full names that differ in their domain are two machines.
        !host.is_empty() && (host == node || short(&host) == node || host == short(&node))
    }
}

/// A node of kind, and the container that it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeContainer {
    /// The node's name.
    pub node: String,
    /// The container's name.
    pub container: String,
}

/// A way to bring the image to nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// `ctr` on this host, into a containerd whose socket is reachable here.
    Containerd {
        /// The program.
        ctr: PathBuf,
        /// The socket.
        socket: PathBuf,
        /// Which node that is, where known.
        node: Option<String>,
    },
    /// `ctr` inside each node's container.
    Kind {
        /// Docker, Podman or nerdctl.
        program: PathBuf,
        /// The containers of the nodes.
        containers: Vec<NodeContainer>,
    },
    /// `microk8s images import`, which sends the image to all nodes of the cluster.
    MicroK8s {
        /// The program.
        microk8s: PathBuf,
        /// All nodes.
        nodes: Vec<String>,
    },
    /// A file in the folder that MicroK8s' containerd looks into every few seconds.
    MicroK8sFolder {
        /// The folder.
        folder: PathBuf,
        /// The node, which is this host.
        node: String,
    },
    /// `k3s ctr images import`.
    K3s {
        /// The program.
        k3s: PathBuf,
        /// The node, which is this host.
        node: String,
    },
    /// A file in the folder that k3s imports from and pins (while running since the releases of January 2025,
    /// docs.k3s.io/import-images: all that are supported here).
    K3sFolder {
        /// The folder.
        folder: PathBuf,
        /// The node, which is this host.
        node: String,
    },
}

impl Route {
    /// The nodes that it leads to; `None` where that is not known.
    pub fn nodes(&self) -> Option<Vec<&str>> {
        match self {
            Self::Containerd { node, .. } => node.as_deref().map(|node| vec![node]),
            Self::Kind { containers, .. } => Some(containers.iter().map(|node| node.node.as_str()).collect()),
            Self::MicroK8s { nodes, .. } => Some(nodes.iter().map(String::as_str).collect()),
            Self::MicroK8sFolder { node, .. } | Self::K3s { node, .. } | Self::K3sFolder { node, .. } => {
                Some(vec![node])
            }
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Containerd { socket, .. } => write!(f, "ctr, into the containerd at {}", socket.display()),
            Self::Kind { program, containers } => {
                let program = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy();
                let names: Vec<_> = containers.iter().map(|node| node.container.as_str()).collect();
                write!(f, "{program} exec, into {}", names.join(", "))
            }
            Self::MicroK8s { .. } => f.write_str("microk8s images import, into all nodes"),
            Self::K3s { .. } => f.write_str("k3s ctr, into this node"),
            Self::MicroK8sFolder { folder, .. } | Self::K3sFolder { folder, .. } => {
                write!(f, "a file in {}", folder.display())
            }
        }
    }
}

/// The way that is open, and what it is needed for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The way to all nodes that can be reached. `None` where no way is open and none is needed.
    pub route: Option<Route>,
    /// Nodes whose status does not list the image.
    pub lacking: Vec<String>,
    /// Those of `lacking` that the route does not reach: a pod placed there cannot start.
    pub unreached: Vec<String>,
}

/// Why one way is closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// The program is not there.
    #[error("{program} is not on PATH")]
    CommandMissing {
        /// Which.
        program: Program,
    },
    /// The node's provider ID does not say which container it is.
    #[error("node {node} is not a container of kind (its provider ID is {provider_id:?})")]
    NotOfKind {
        /// The node.
        node: String,
        /// Its provider ID.
        provider_id: String,
    },
    /// What this host could load would reach another cluster.
    #[error("this host ({host}) is not a node of the cluster")]
    NotANode {
        /// The host's name.
        host: String,
    },
    /// The node runs its containers with something else.
    #[error("node {node} does not use containerd ({runtime})")]
    OtherRuntime {
        /// The node.
        node: String,
        /// What it uses.
        runtime: String,
    },
    /// There is no containerd socket at the usual place.
    #[error("there is no containerd socket at its usual place")]
    NoSocket,
    /// The side-load folder is missing or not ours to write to.
    #[error("its side-load folder cannot be written to")]
    NoFolder,
}

/// No way is open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no way to bring the image {reference} to the nodes: {}", join(obstacles))]
pub struct NoRoute {
    /// The image.
    pub reference: String,
    /// Why each way that was looked at is closed.
    pub obstacles: Vec<Obstacle>,
}

impl NoRoute {
    /// The ways out.
    pub fn hint(&self) -> String {
        "name an image that the nodes can pull with `--image scaler=REF`, or a node's containerd that is reachable \
         here with `--containerd-socket PATH`"
            .to_owned()
    }
}

fn join(obstacles: &[Obstacle]) -> String {
    obstacles.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Chooses the way, or says why there is none. Where every node has the image (or there is no node), none is needed.
///
/// A socket that the user named is taken at their word. Without it, what this host has is used only
/// where this host is a node of the cluster: a kubeconfig may well point elsewhere, and an image
/// imported into a containerd that happens to run here would help nobody.
pub fn choose(cluster: &Cluster, host: &Host, reference: &str) -> Result<Choice, NoRoute> {
    let lacks = |node: &&Node| !node.images.iter().any(|image| image == reference);
    let lacking: Vec<String> = cluster.nodes.iter().filter(lacks).map(|node| node.name.clone()).collect();
    match reach(cluster, host) {
        Ok(route) => {
            let unreached = match route.nodes() {
                Some(reached) => lacking.iter().filter(|node| !reached.contains(&node.as_str())).cloned().collect(),
                None => Vec::new(),
            };
            Ok(Choice { route: Some(route), lacking, unreached })
        }
        Err(_) if lacking.is_empty() => Ok(Choice { route: None, lacking, unreached: Vec::new() }),
        Err(obstacles) => Err(NoRoute { reference: reference.to_owned(), obstacles }),
    }
}

/// The way to as many nodes as can be reached from here.
pub fn reach(cluster: &Cluster, host: &Host) -> Result<Route, Vec<Obstacle>> {
    if let Some(socket) = &cluster.containerd_socket {
        let ctr = host.program(Program::Ctr).map_err(|obstacle| vec![obstacle])?;
        let node = here(cluster, host).ok().or(match cluster.nodes.as_slice() {
            [only] => Some(only),
            _ => None,
        });
        return Ok(Route::Containerd { ctr, socket: socket.clone(), node: node.map(|node| node.name.clone()) });
    }
    let ways: &[Way] = match cluster.kind {
        ClusterKind::Kind => &[kind],
        ClusterKind::MicroK8s => &[microk8s, microk8s_folder],
        ClusterKind::K3s => &[k3s, k3s_folder],
        ClusterKind::Other => &[containerd],
    };
    let mut obstacles = Vec::new();
    for way in ways {
        match way(cluster, host) {
            Ok(route) => return Ok(route),
            Err(obstacle) if obstacles.contains(&obstacle) => {}
            Err(obstacle) => obstacles.push(obstacle),
        }
    }
    Err(obstacles)
}

type Way = fn(&Cluster, &Host) -> Result<Route, Obstacle>;

/// The node that this host is.
fn here<'a>(cluster: &'a Cluster, host: &Host) -> Result<&'a Node, Obstacle> {
    cluster.nodes.iter().find(|node| host.is(node)).ok_or_else(|| Obstacle::NotANode { host: host.name.clone() })
}

fn kind(cluster: &Cluster, host: &Host) -> Result<Route, Obstacle> {
    let mut program = Program::Docker;
    let mut containers = Vec::new();
    for node in &cluster.nodes {
        let (cli, container) = kind_container(&node.provider_id)
            .ok_or_else(|| Obstacle::NotOfKind { node: node.name.clone(), provider_id: node.provider_id.clone() })?;
        // One cluster of kind is made by one program.
        program = cli;
        containers.push(NodeContainer { node: node.name.clone(), container: container.to_owned() });
    }
    Ok(Route::Kind { program: host.program(program)?, containers })
}

/// Reads `kind://<docker|podman|nerdctl>/<cluster>/<node>`, as kind writes it into its kubeadm configuration.
fn kind_container(provider_id: &str) -> Option<(Program, &str)> {
    let mut parts = provider_id.strip_prefix("kind://")?.split('/');
    let program = match parts.next()? {
        "docker" => Program::Docker,
        "podman" => Program::Podman,
        "nerdctl" => Program::Nerdctl,
        _ => return None,
    };
    let container = parts.nth(1).filter(|name| !name.is_empty() && !name.starts_with('-'))?;
    parts.next().is_none().then_some((program, container))
}

fn microk8s(cluster: &Cluster, host: &Host) -> Result<Route, Obstacle> {
    here(cluster, host)?;
    let nodes = cluster.nodes.iter().map(|node| node.name.clone()).collect();
    Ok(Route::MicroK8s { microk8s: host.program(Program::MicroK8s)?, nodes })
}

fn microk8s_folder(cluster: &Cluster, host: &Host) -> Result<Route, Obstacle> {
    let node = here(cluster, host)?.name.clone();
    Ok(Route::MicroK8sFolder { folder: host.microk8s_folder.clone().ok_or(Obstacle::NoFolder)?, node })
}

fn k3s(cluster: &Cluster, host: &Host) -> Result<Route, Obstacle> {
    let node = here(cluster, host)?.name.clone();
    Ok(Route::K3s { k3s: host.program(Program::K3s)?, node })
}

fn k3s_folder(cluster: &Cluster, host: &Host) -> Result<Route, Obstacle> {
    let node = here(cluster, host)?.name.clone();
    Ok(Route::K3sFolder { folder: host.k3s_folder.clone().ok_or(Obstacle::NoFolder)?, node })
}

fn containerd(cluster: &Cluster, host: &Host) -> Result<Route, Obstacle> {
    let node = here(cluster, host)?;
    if !node.container_runtime.starts_with("containerd://") {
        return Err(Obstacle::OtherRuntime { node: node.name.clone(), runtime: node.container_runtime.clone() });
    }
    let socket = host.containerd_socket.as_deref().map(Path::to_owned).ok_or(Obstacle::NoSocket)?;
    Ok(Route::Containerd { ctr: host.program(Program::Ctr)?, socket, node: Some(node.name.clone()) })
}

#[cfg(test)]
#[path = "route_tests.rs"]
mod tests;
