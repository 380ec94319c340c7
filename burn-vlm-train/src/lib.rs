//! burn-vlm-train
