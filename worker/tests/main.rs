//! The worker whole, on the embedded bus and state, against a small platform on loopback.

mod suite {
    mod breaks;
    mod commands;
    mod echo;
    mod handlers;
    mod http;
    mod lanes;
    mod outage;
    mod platform;
    mod restarts;
    mod sends;
    mod world;
}
