//! What the end-to-end suites are made of.

pub mod cluster;
pub mod door;
pub mod gateway;
pub mod invariants;
pub mod leaks;
pub mod meter;
pub mod process;
pub mod run;
pub mod seam;
pub mod servers;
mod settle;
pub mod stage;
pub mod wait;
