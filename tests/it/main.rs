//! Everything that needs more than one room: journeys, real protocols, the built binary.

mod service;
