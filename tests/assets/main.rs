//! What is compiled in holds together: manifests, configurations and dashboards.

mod budget;
mod built;
mod dashboards;
mod expressions;
mod kept;
mod manifests;
mod rights;
mod rules;
mod scraping;
