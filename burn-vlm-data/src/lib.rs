//! burn-vlm-data
