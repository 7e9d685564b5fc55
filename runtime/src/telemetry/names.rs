//! Every OpenTelemetry name we use, in one place: the messaging conventions are still marked
//! "development", and a rename should be one edit.
//!
//! NATS is not among the systems that they list; `nats` is what others call it.

/// `service.name`.
pub const SERVICE: &str = "qqrelay";
/// Resource: the release.
pub const SERVICE_VERSION: &str = "service.version";
/// Resource: which process, unique for each start.
pub const SERVICE_INSTANCE_ID: &str = "service.instance.id";
/// Resource: what the process is.
pub const ROLE: &str = "qqrelay.role";

/// Span: the messaging system.
pub const SYSTEM: &str = "messaging.system";
/// The system of the cluster.
pub const SYSTEM_NATS: &str = "nats";
/// The system of the embedded default.
pub const SYSTEM_EMBEDDED: &str = "qqrelay";
/// Span: what is done, in the system's words: `publish`, `receive`, `process`, `ack`.
pub const OPERATION_NAME: &str = "messaging.operation.name";
/// Span: what kind of operation that is: `send`, `receive`, `process`, `settle`.
pub const OPERATION_TYPE: &str = "messaging.operation.type";
/// Span: the subject.
pub const DESTINATION: &str = "messaging.destination.name";
/// Span: the subject with its variable tokens left out, of low cardinality.
pub const DESTINATION_TEMPLATE: &str = "messaging.destination.template";
/// Span: the partition of the log.
pub const DESTINATION_PARTITION: &str = "messaging.destination.partition.id";
/// Span: the lane that takes it.
pub const CONSUMER_GROUP: &str = "messaging.consumer.group.name";
/// Span: the event's or command's id.
pub const MESSAGE_ID: &str = "messaging.message.id";
/// Span: how large it is.
pub const MESSAGE_BODY_SIZE: &str = "messaging.message.body.size";
/// Span: the other side's host.
pub const SERVER_ADDRESS: &str = "server.address";
/// Span: the other side's port.
pub const SERVER_PORT: &str = "server.port";
/// Span: which error ended it, of a closed set.
pub const ERROR_TYPE: &str = "error.type";
