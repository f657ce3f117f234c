//! higanbana
