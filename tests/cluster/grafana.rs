//! Grafana as a person meets it: at the address and with the login that `open` prints.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
};

use crate::world::World;

/// The password as the cluster has it.
pub fn password(world: &World) -> String {
    let template = "go-template={{ .data.password | base64decode }}";
    world.kubectl(["get", "secret", "-n", "monitoring", "grafana-admin", "-o", template])
}

/// A port-forward to Grafana, which ends with it.
pub struct Opened {
    running: Child,
    address: String,
    /// The password that was printed.
    pub password: String,
}

impl Opened {
    pub fn with(world: &World, arguments: &[&str]) -> Self {
        let mut command = world.command();
        command.args(["open", "grafana", "--no-browser"]).args(arguments);
        let mut running = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(running.stdout.take().unwrap()).lines();
        let (url, login) = (lines.next().unwrap().unwrap(), lines.next().unwrap().unwrap());
        let address = url.split("/d/").next().unwrap().to_owned();
        let password = login.rsplit_once(' ').unwrap().1.to_owned();
        Self { running, address, password }
    }

    /// The status with which Grafana answers who comes as admin with this password.
    pub async fn login(&self, password: &str) -> u16 {
        let client = reqwest::Client::builder().tls_certs_only(std::iter::empty()).no_proxy().build().unwrap();
        let asked = client.get(format!("{}/api/user", self.address)).basic_auth("admin", Some(password));
        asked.send().await.unwrap().status().as_u16()
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.running.kill().unwrap();
        self.running.wait().unwrap();
    }
}
