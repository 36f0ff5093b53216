//! The network as the kernel sees it.

mod interfaces;
mod neighbours;
mod routes;
mod routes6;
mod socket_names;
mod socket_tables;
mod sockets;
mod spaces;

pub use interfaces::NetworkInterface;
pub use neighbours::Neighbour;
pub use routes::Route;
pub use sockets::{Socket, SocketHolder};
