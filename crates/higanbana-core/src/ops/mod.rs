//! Fused operations written against Burn's `Backend`.
