//! Which vector instructions this library's kernels use on a CPU, and how to have them use narrower ones.
//!
//! The kernels add in the same order whatever the width, so that AVX2 and AVX-512 give the same bits; without fused multiply-add
//! (`portable`) products are rounded before they are added. Burn's own matrix products use what the processor has, whatever is set here.

use std::fmt;
use std::sync::OnceLock;

/// The environment variable that names the widest instructions that may be used: `avx512`, `avx2` or `portable`.
pub const VECTORS: &str = "BURN_VLM_VECTORS";

/// Vector instructions, the widest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Vectors {
    /// What the target guarantees: SSE2, NEON.
    Portable,
    /// AVX2 with fused multiply-add.
    Avx2,
    /// AVX-512.
    Avx512,
}

impl fmt::Display for Vectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Portable if cfg!(target_arch = "x86_64") => "SSE2",
            Self::Portable => std::env::consts::ARCH,
            Self::Avx2 => "AVX2",
            Self::Avx512 => "AVX-512",
        })
    }
}

impl Vectors {
    /// What this processor has.
    #[cfg(target_arch = "x86_64")]
    pub fn of_processor() -> Self {
        let fused =
            is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
        let wide = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        match (fused, wide) {
            (true, true) => Self::Avx512,
            (true, false) => Self::Avx2,
            _ => Self::Portable,
        }
    }

    /// What this processor has.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn of_processor() -> Self {
        Self::Portable
    }

    /// What the kernels of this process use: the processor's, or less where [`VECTORS`] says so. The variable is read once; a value
    /// that is none is for [`check_vectors`] to tell, and changes nothing.
    pub fn used() -> Self {
        static USED: OnceLock<Vectors> = OnceLock::new();
        *USED.get_or_init(|| {
            let most = std::env::var(VECTORS).ok().and_then(|name| named(&name).ok());
            Self::of_processor().min(most.unwrap_or(Self::Avx512))
        })
    }
}

fn named(name: &str) -> Result<Vectors, String> {
    match name {
        "avx512" => Ok(Vectors::Avx512),
        "avx2" => Ok(Vectors::Avx2),
        "portable" => Ok(Vectors::Portable),
        _ => Err(format!("{VECTORS} is {name:?}, expected avx512, avx2 or portable")),
    }
}

/// Whether [`VECTORS`], where it is set, names instructions that this processor has.
///
/// # Errors
/// Says what it is and what it may be.
pub fn check_vectors() -> Result<(), String> {
    let Some(name) = std::env::var_os(VECTORS) else { return Ok(()) };
    let asked = named(&name.to_string_lossy())?;
    let has = Vectors::of_processor();
    if asked > has {
        return Err(format!("{VECTORS} asks for {asked}, and this processor has {has}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read() {
        assert_eq!(named("avx2"), Ok(Vectors::Avx2));
        assert!(named("AVX2").unwrap_err().contains("BURN_VLM_VECTORS"));
        assert!(Vectors::Portable < Vectors::Avx2 && Vectors::Avx2 < Vectors::Avx512);
        assert!(Vectors::used() <= Vectors::of_processor());
    }
}
