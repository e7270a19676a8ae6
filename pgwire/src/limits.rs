//! The bounds on what one client, and all clients together, can make the server hold.

use std::time::Duration;

/// Settable; the defaults suit a node of any size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Authenticated connections at once.
    pub connections_max: usize,
    /// Connections that have not authenticated, at once.
    pub starting_connections_max: usize,
    /// Of those, from one address.
    pub starting_per_address_max: usize,
    /// Accepted connections that wait to be one of those; more are closed as they arrive.
    pub connection_line_max: usize,
    /// From accept to the end of authentication.
    pub authentication_timeout: Duration,
    /// Bytes of a startup packet, its length word included.
    pub startup_bytes_max: usize,
    /// Bytes of any message that carries no user data (Describe, Execute, Sync, …).
    pub short_message_bytes_max: usize,
    /// Bytes of a Query, Parse, Bind or CopyData message.
    pub message_bytes_max: usize,
    /// Bytes of pipelined messages read ahead while a statement runs.
    pub read_ahead_bytes_max: usize,
    /// Bytes of output after which a session that streams rows waits for the client.
    pub output_bytes_max: usize,
    /// Named prepared statements of a session.
    pub statements_max: usize,
    /// Named portals of a session.
    pub portals_max: usize,
    /// How long running statements and open transactions may go on after shutdown has begun, before they are ended.
    pub drain_timeout: Duration,
    /// How long a session may take to end its statement after its client has vanished or at shutdown,
    /// before the statement is dropped where it stands.
    pub end_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 200,
            starting_connections_max: 64,
            starting_per_address_max: 16,
            connection_line_max: 1_024,
            authentication_timeout: Duration::from_secs(10),
            startup_bytes_max: 10_000,
            short_message_bytes_max: 10_000,
            message_bytes_max: 16 << 20,
            read_ahead_bytes_max: 64 << 10,
            output_bytes_max: 64 << 10,
            statements_max: 1_000,
            portals_max: 100,
            drain_timeout: Duration::from_secs(10),
            end_timeout: Duration::from_secs(5),
        }
    }
}
