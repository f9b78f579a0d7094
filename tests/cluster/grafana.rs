//! Grafana as a person meets it: at the address and with the login that `open` prints.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::{nodes::until, world::World};

/// A port-forward that says nothing in this time never will.
const OPENED_WITHIN: Duration = Duration::from_secs(180);

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
        let mut lines = BufReader::new(running.stdout.take().unwrap()).lines().map_while(Result::ok);
        let (tell, told) = mpsc::channel();
        thread::spawn(move || lines.try_for_each(|line| tell.send(line)));
        let next = || told.recv_timeout(OPENED_WITHIN).expect("an address, and a login");
        let (url, login) = (next(), next());
        let address = url.split("/d/").next().unwrap().to_owned();
        let password = login.rsplit_once(' ').unwrap().1.to_owned();
        Self { running, address, password }
    }

    /// The status with which Grafana answers who comes as admin with this password.
    pub async fn login(&self, password: &str) -> u16 {
        let client = reqwest::Client::builder().tls_certs_only(std::iter::empty()).no_proxy().build().unwrap();
        until("Grafana answers", async || {
            let asked = client.get(format!("{}/api/user", self.address)).basic_auth("admin", Some(password));
            Some(asked.timeout(Duration::from_secs(30)).send().await.ok()?.status().as_u16())
        })
        .await
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.running.kill().unwrap();
        self.running.wait().unwrap();
    }
}
