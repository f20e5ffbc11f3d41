//! Sockets: bound, accepted, read and written. Nothing here knows listeners or handlers.

mod accept;
mod bind;
mod chunk;
mod conn;
mod flow;
mod gate;
mod inherited;
mod lent;
mod packet;
mod relay;
mod replier;
pub mod sock_diag;
mod stream;
pub mod tls;
pub mod udp;
mod unix;

pub use accept::{Backoff, classify};
pub use bind::{
    AdminSocket, BindError, Bound, Socket, bind, relisten, resolve, set_reuse_port, settle, tune,
};
pub use chunk::Chunk;
pub use conn::{Conn, Prelude};
pub use flow::Flow;
pub use gate::{Gate, PeerCounts, PeerKey, Permit};
pub use inherited::Inherited;
pub use lent::{Lent, Look};
pub use packet::{Answer, Packet};
pub use relay::Relayed;
pub use replier::Replier;
pub use stream::Stream;
pub use unix::UnixNode;
