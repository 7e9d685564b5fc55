//! What the end-to-end suites are made of.

pub mod chaos;
pub mod cluster;
pub mod course;
pub mod door;
pub mod edges;
pub mod failpoint;
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
