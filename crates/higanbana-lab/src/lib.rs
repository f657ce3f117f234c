//! higanbana-lab
