//! What a server wants to see before it answers. All of it comes from Secrets beside the Autoscaler.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// How to prove who asks, and whom to believe. The Secrets are those of the Autoscaler's own namespace; the scaler
/// needs a right to get them by name.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("!(has(self.bearerToken) && has(self.basic))")
    .message("bearerToken and basic exclude each other: leave one out"))]
#[serde(rename_all = "camelCase")]
pub struct ServerAuth {
    /// The certificate authority of the server, in PEM. Needed for https: the scaler believes no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<SecretKey>,
    /// A bearer token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer_token: Option<SecretKey>,
    /// User and password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic: Option<BasicAuth>,
    /// A client certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<ClientCertificate>,
    /// Headers that every question carries, such as X-Scope-OrgID.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub headers: Vec<HeaderFrom>,
}

/// A key of a Secret.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretKey {
    /// The Secret, in the Autoscaler's namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in its data.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// User and password.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BasicAuth {
    /// The user.
    pub username: SecretKey,
    /// The password.
    pub password: SecretKey,
}

/// A client certificate with its key, both in PEM.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientCertificate {
    /// The certificate, with those that signed it.
    pub certificate: SecretKey,
    /// The private key.
    pub private_key: SecretKey,
}

/// A header with a value that is written here, or kept in a Secret.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("has(self.value) != has(self.valueFrom)")
    .message("a header needs either value or valueFrom"))]
#[serde(rename_all = "camelCase")]
pub struct HeaderFrom {
    /// Its name.
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9!#$&^_.+-]+$')")
        .message("the name of a header is made of letters, digits and -"))]
    pub name: String,
    /// Its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub value: Option<String>,
    /// Where its value is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<SecretKey>,
}
