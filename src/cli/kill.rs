//! `polygate kill`: closes one connection at once.

use hyper::Method;

use super::client::Client;
use super::exit::Failure;
use super::terminal;

pub(crate) fn run(client: &Client, id: u64) -> Result<(), Failure> {
    let path = format!("/api/v1/connections/{id}");
    client.request(Method::DELETE, &path, "application/json")?.successful()?;
    terminal::print(&format!("connection {id} is closed\n"))
}
