//! The one place that talks to the cluster: connection, errors in our words, port-forward.
//!
//! Who connects gets a [`Cluster`]; it reads through it, and hands it to `install` to write. Nothing here
//! decides anything.

mod connect;
mod counted;
mod error;
mod forward;
mod http2;
mod interruption;
mod kinds;
mod patience;
mod proxy;
mod read;

use kube::{
    Client, Resource,
    api::{Api, ApiResource, DynamicObject},
    core::{DynamicResourceScope, PartialObjectMeta},
};

pub use connect::{ConnectError, Connection, connect, connect_in_cluster};
pub use error::Error;
pub use forward::{ForwardError, PodTunnel, listen};
pub use interruption::{Held, Interruption};
pub use kinds::{API_SERVICE, INSTALLED, Kind, LEASE, TRACES};
pub use read::{CONCURRENCY, Listed, answered};

use crate::object::ObjectRef;
use counted::Requests;

/// A cluster that a connection was configured for. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    /// For what needs a connection of its own; else it is the same.
    upgrades: Client,
    server: String,
    context: String,
    default_namespace: String,
    version: Option<String>,
    made: Requests,
    interruption: Interruption,
}

impl Cluster {
    /// Puts a client behind the interface; `server` and `context` are only for messages.
    pub fn new(client: Client, server: &str, context: &str, default_namespace: &str) -> Self {
        Self {
            upgrades: client.clone(),
            client,
            server: server.to_owned(),
            context: context.to_owned(),
            default_namespace: default_namespace.to_owned(),
            version: None,
            made: Requests::default(),
            interruption: Interruption::default(),
        }
    }

    /// The same with the API server's version, where connecting has already told it.
    #[must_use]
    pub fn with_version(self, version: Option<String>) -> Self {
        Self { version, ..self }
    }

    /// The same with another client for connections that turn into something else than HTTP.
    #[must_use]
    pub fn with_upgrades(self, upgrades: Client) -> Self {
        Self { upgrades, ..self }
    }

    /// The same for runs that end when they are told to.
    #[must_use]
    pub fn interrupted_by(self, interruption: &Interruption) -> Self {
        Self { interruption: interruption.clone(), ..self }
    }

    /// What ends the runs on this cluster.
    pub fn interruption(&self) -> &Interruption {
        &self.interruption
    }

    /// The same with the count of what its clients ask.
    #[must_use]
    fn counted(self, made: Requests) -> Self {
        Self { made, ..self }
    }

    /// How many requests were made by this connection until now, watches and what was asked again included. 0 where the
    /// client was made elsewhere.
    pub fn requests(&self) -> u64 {
        self.made.made()
    }

    /// The API server's version, such as `v1.37.2`.
    ///
    /// # Errors
    ///
    /// When it has to be asked for, and there is no answer.
    pub async fn version(&self) -> Result<String, Error> {
        match &self.version {
            Some(version) => Ok(version.clone()),
            None => Ok(answered(self.client.apiserver_version()).await?.git_version),
        }
    }

    /// The client, for typed reads.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The client for port-forwards: a connection that HTTP/2 shares among requests cannot become a stream of bytes.
    pub(super) fn upgrades(&self) -> &Client {
        &self.upgrades
    }

    /// URL of the API server, for messages.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Name of the kubeconfig's context, for messages.
    pub fn context(&self) -> &str {
        &self.context
    }

    /// The namespace that the kubeconfig's context names.
    pub fn default_namespace(&self) -> &str {
        &self.default_namespace
    }

    /// The API for one object of a known kind, in its namespace.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownKind`] when the kind is not in the table of [`Kind`].
    pub fn api_for(&self, object: &ObjectRef) -> Result<Api<DynamicObject>, Error> {
        let kind = Kind::of(object).ok_or_else(|| Error::UnknownKind { object: object.clone() })?;
        Ok(self.api(kind, object.namespace.as_deref()))
    }

    /// The API for all objects of a kind, in one namespace or everywhere.
    pub fn api(&self, kind: &Kind, namespace: Option<&str>) -> Api<DynamicObject> {
        self.api_as(kind, namespace)
    }

    /// The same, of their metadata alone.
    pub fn metadata_api(&self, kind: &Kind, namespace: Option<&str>) -> Api<PartialObjectMeta<DynamicObject>> {
        self.api_as(kind, namespace)
    }

    fn api_as<K>(&self, kind: &Kind, namespace: Option<&str>) -> Api<K>
    where
        K: Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>,
    {
        let resource = kind.resource();
        match namespace {
            Some(namespace) if kind.namespaced => Api::namespaced_with(self.client.clone(), namespace, &resource),
            _ => Api::all_with(self.client.clone(), &resource),
        }
    }
}
