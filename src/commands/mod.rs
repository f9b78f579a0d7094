//! One function per verb. Each takes what it needs, does the work, and returns what came of it as a value;
//! `report` shows that.

mod alert;
mod carry_out;
mod demo;
mod down;
mod error;
mod image;
mod open;
mod password;
mod plan;
mod reload;
mod render;
mod run;
mod status;
mod targets;
mod up;

pub use alert::{AlertTested, alert_test};
pub use demo::{DemoLoaded, DemoUp, Wish, demo_down, demo_load, demo_up};
pub use down::{Consent, Downed, PlannedRemoval, down, plan_removal};
pub use error::CommandError;
pub use open::{Opening, Service, open};
pub use password::reset_grafana_password;
pub use plan::{Plan, PlannedObject, plan};
pub use render::{Written, render, write_manifests};
pub use run::{run_controller, run_watcherbot};
pub use status::status;
pub use up::{Upped, up};
