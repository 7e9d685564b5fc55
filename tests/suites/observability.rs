//! What a process tells of itself: one trace, every series from the start, and nothing secret.

use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use qqrelay_simulator::{Action, Injection};
use qqrelay_tests::cluster::{Bot, Cluster, Servers, Setup};
use qqrelay_tests::invariants::{Answers, Expected};
use qqrelay_tests::leaks::{Canary, leaks, long_words};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

const APP: &str = "102000001";

/// What somebody says, and nobody else may see.
const SAID: &str = "my \"private\" canary 7f3a91";

/// Keeps every span that it is sent.
#[derive(Debug, Clone, Default)]
struct Collector {
    spans: Arc<Mutex<Vec<Span>>>,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let spans = request.into_inner().resource_spans.into_iter();
        let spans = spans.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans);
        self.spans.lock().unwrap_or_else(PoisonError::into_inner).extend(spans);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Serves, and tells where.
    async fn serve(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let service = TraceServiceServer::new(self.clone());
        let incoming = TcpListenerStream::new(listener);
        tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
        format!("http://{address}")
    }

    fn spans(&self) -> Vec<Span> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The text of a span's attribute.
fn attribute<'a>(span: &'a Span, name: &str) -> Option<&'a str> {
    let found = span.attributes.iter().find(|attribute| attribute.key == name)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

async fn cluster(env: Vec<(&'static str, String)>) -> Cluster {
    cluster_on(None, env).await
}

/// On servers, gateway and worker are processes of their own.
async fn cluster_on(servers: Option<Servers>, env: Vec<(&'static str, String)>) -> Cluster {
    let setup = Setup {
        servers,
        bots: vec![Bot::new(APP, 1)],
        env,
        expected: Expected { identifies: Some(1), answers: Answers::Echo, ..Expected::default() },
        ..Setup::default()
    };
    Cluster::up(setup).await.expect("a relay")
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_joins_an_event_its_handling_and_its_reply() {
    one_trace(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_joins_what_processes_apart_do_for_an_event() {
    one_trace(Some(Servers::start(1).await.expect("servers"))).await;
}

async fn one_trace(servers: Option<Servers>) {
    let collector = Collector::default();
    let endpoint = collector.serve().await;
    let env = vec![("QQRELAY_TELEMETRY__OTLP_ENDPOINT", endpoint)];
    let cluster = cluster_on(servers, env).await;
    let event = Injection::c2c("user", "trace me");
    cluster.platform.inject(APP, &event).expect("the bot exists");
    cluster.finish().await.expect("a run that kept its promises");

    // What was left to send went out before the process ended.
    let spans = collector.spans();
    let named =
        |name: &str| -> Vec<&Span> { spans.iter().filter(|span| span.name == name).collect() };
    let [publish] = named("publish qq.v1.ev")[..] else { panic!("{:?}", names(&spans)) };
    let [process] = named("process qq.v1.ev")[..] else { panic!("{:?}", names(&spans)) };
    let [handle] = named("handle")[..] else { panic!("{:?}", names(&spans)) };
    let [reply] = named("reply")[..] else { panic!("{:?}", names(&spans)) };
    let id = attribute(publish, "messaging.message.id");
    assert!(id.is_some_and(|id| id.starts_with(APP)), "{publish:?}");
    assert_eq!(attribute(process, "messaging.message.id"), id);
    assert_eq!(process.parent_span_id, publish.span_id);
    assert_eq!(handle.parent_span_id, process.span_id);
    assert_eq!(reply.parent_span_id, process.span_id);
    for span in [process, handle, reply] {
        assert_eq!(span.trace_id, publish.trace_id, "{span:?}");
    }
    let text = format!("{spans:?}");
    let canaries = [Canary { name: "text", text: "trace me".to_owned() }];
    assert_eq!(leaks(&text, &canaries), []);
}

fn names(spans: &[Span]) -> Vec<&str> {
    spans.iter().map(|span| span.name.as_str()).collect()
}

/// Series that are there before anything has happened, one of each family.
const SERIES: [&str; 29] = [
    "qqrelay_build_info{",
    "qqrelay_consumer_lag{lane=\"15\",stream=\"QQ_COMMANDS\"}",
    "qqrelay_dlq_total{reason=\"overflow\"}",
    "qqrelay_dropped_total{reason=\"too_large\"}",
    "qqrelay_duplicates_total",
    "qqrelay_event_answered_seconds_count",
    "qqrelay_event_lag_seconds_bucket{",
    "qqrelay_events_total{kind=\"message_create\"}",
    "qqrelay_events_total{kind=\"unknown\"}",
    "qqrelay_frames_total{op=\"dispatch\"}",
    "qqrelay_gaps_total{reason=\"log_lost\"}",
    "qqrelay_handler_duration_seconds_count{handler=\"echo\",result=\"failed\"}",
    "qqrelay_heartbeat_rtt_seconds_count",
    "qqrelay_identifies_total{outcome=\"failed\"}",
    "qqrelay_outcomes_total{outcome=\"ambiguous\"}",
    "qqrelay_outcomes_total{outcome=\"sent\"}",
    "qqrelay_partitions_lost_total",
    "qqrelay_publish_ack_seconds_count",
    "qqrelay_publish_errors_total{reason=\"mismatch\"}",
    "qqrelay_publish_inflight{partition=\"00\"}",
    "qqrelay_ratelimit_wait_seconds_count{tier=\"channel\"}",
    "qqrelay_replays_total",
    "qqrelay_rest_request_duration_seconds_count{route=\"/gateway/bot\"}",
    "qqrelay_rest_requests_total{code=\"200\",route=\"/app/getAppAccessToken\"}",
    "qqrelay_resumes_total{outcome=\"live\"}",
    "qqrelay_sends_held_total{end=\"given_up\"}",
    "qqrelay_shard_state{app=\"102000001\",shard=\"1-0\",state=\"parked\"}",
    "qqrelay_takeovers_total{cause=\"recovery\"}",
    "qqrelay_token_expires_timestamp_seconds{app=\"102000001\"}",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_series_is_there_before_anything_has_happened() {
    let cluster = cluster(Vec::new()).await;
    let relay = cluster.relay();
    assert_eq!(relay.get("/livez").await.expect("it lives"), "live\n");
    assert!(relay.get("/readyz").await.expect("it is ready").starts_with("ready"));
    let metrics = relay.get("/metrics").await.expect("its metrics");
    for series in SERIES {
        assert!(metrics.lines().any(|line| line.starts_with(series)), "{series} in\n{metrics}");
    }
    cluster.platform.inject(APP, &Injection::c2c("user", "hello")).expect("the bot exists");
    cluster.settle().await.expect("it is stored");
    cluster.answered().await.expect("it is answered");
    let metrics = relay.get("/metrics").await.expect("its metrics");
    for counted in [
        "qqrelay_events_total{kind=\"message_create\"} 1",
        "qqrelay_outcomes_total{outcome=\"sent\"} 1",
        "qqrelay_event_answered_seconds_count 1",
    ] {
        assert!(metrics.lines().any(|line| line == counted), "{counted} in\n{metrics}");
    }
    cluster.finish().await.expect("a run that kept its promises");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_no_token_and_no_text_is_ever_told() {
    let cluster = cluster(vec![("QQRELAY_TELEMETRY__LOG", "trace".to_owned())]).await;
    // Each way that something is said, refused, resumed, and that a token is renewed.
    let user = "user-of-the-canary";
    for event in [
        Injection::c2c(user, SAID),
        Injection::group_at("group", user, SAID),
        Injection::at("1", "2", user, SAID),
        Injection::verbatim("C2C_MESSAGE_CREATE", &format!("[{SAID:?}")),
    ] {
        cluster.platform.inject(APP, &event).expect("the bot exists");
    }
    let target = qqrelay_simulator::Target::default();
    for action in [
        Action::ExpireTokens { app: APP.into() },
        Action::Reconnect { target, code: 4009, after: None },
    ] {
        cluster.platform.perform(&action).expect("the platform knows how");
    }
    cluster.platform.inject(APP, &Injection::c2c(user, SAID)).expect("the bot exists");
    cluster.settle().await.expect("all of it is stored");
    cluster.answered().await.expect("all of it is answered");

    let relay = cluster.relay();
    let mut told = String::new();
    for path in ["/", "/metrics", "/readyz?verbose", "/v1/shards"] {
        told += &relay.get(path).await.expect("the admin port answers");
    }
    told += &cluster.output().expect("what the relay said");
    let canaries = [
        Canary { name: "secret", text: Bot::new(APP, 1).secret() },
        Canary { name: "text", text: SAID.to_owned() },
    ];
    assert_eq!(leaks(&told, &canaries), []);
    let platform = cluster.platform.platform();
    let token = long_words(&told).find(|word| platform.access_token(word).is_ok());
    assert_eq!(token, None, "an access token was told");
    assert!(told.contains("\"level\":\"debug\""), "it was told to say all it can");
    cluster.finish().await.expect("a run that kept its promises");
}
