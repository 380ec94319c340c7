//! A backend's float primitive with methods and operators, so that formulas read as formulas.

use std::ops::{Add, Div, Mul, Sub};

use burn::backend::tensor::{BoolTensor, FloatTensor, IntTensor};
use burn::backend::{Backend, TensorMetadata, get_or_init_device_settings};
use burn::tensor::{BoolDType, FloatDType, IntDType, Shape, Slice};

/// A float tensor of backend `B`; operands of the operators broadcast over dimensions of size one.
#[derive(Debug)]
pub struct Float<B: Backend>(pub FloatTensor<B>);

impl<B: Backend> Clone for Float<B> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// The boolean element type of a tensor's device.
pub fn bool_dtype<B: Backend>(device: &B::Device) -> BoolDType {
    get_or_init_device_settings::<B>(device).bool_dtype
}

/// The integer element type of a tensor's device.
pub fn int_dtype<B: Backend>(device: &B::Device) -> IntDType {
    get_or_init_device_settings::<B>(device).int_dtype
}

impl<B: Backend> Float<B> {
    /// In f32, whatever the element type was.
    pub fn f32(tensor: FloatTensor<B>) -> Self {
        if tensor.dtype() == burn::tensor::DType::F32 {
            Self(tensor)
        } else {
            Self(B::float_cast(tensor, FloatDType::F32))
        }
    }

    /// The primitive in the element type `dtype`.
    pub fn cast(self, dtype: burn::tensor::DType) -> FloatTensor<B> {
        if self.0.dtype() == dtype { self.0 } else { B::float_cast(self.0, dtype.into()) }
    }

    /// Sizes.
    pub fn dims(&self) -> Vec<usize> {
        self.0.shape().to_vec()
    }

    /// Another shape of the same elements.
    pub fn reshape(self, shape: impl Into<Shape>) -> Self {
        Self(B::float_reshape(self.0, shape.into()))
    }

    /// A vector as the last dimension of a tensor of rank `rank`.
    pub fn unsqueeze_to(self, rank: usize) -> Self {
        let mut dims = vec![1; rank];
        dims[rank - 1] = self.dims()[0];
        self.reshape(dims)
    }

    /// Dimensions in another order.
    pub fn permute(self, axes: &[usize]) -> Self {
        Self(B::float_permute(self.0, axes))
    }

    /// The last two dimensions exchanged.
    pub fn transpose(self) -> Self {
        let rank = self.0.rank();
        Self(B::float_swap_dims(self.0, rank - 2, rank - 1))
    }

    /// Matrix product of the last two dimensions.
    pub fn matmul(self, other: Self) -> Self {
        Self(B::float_matmul(self.0, other.0))
    }

    /// Elements `start..end` of the last dimension.
    pub fn last(self, start: usize, end: usize) -> Self {
        let rank = self.0.rank();
        let mut slices = vec![Slice::full(); rank];
        slices[rank - 1] = Slice::from(start..end);
        Self(B::float_slice(self.0, &slices))
    }

    /// Elements `first..last` of one dimension; the tensor itself if these are all.
    pub fn span(self, dim: usize, (first, last): (usize, usize)) -> Self {
        let dims = self.dims();
        if (first, last) == (0, dims[dim]) {
            return self;
        }
        let mut slices = vec![Slice::full(); dims.len()];
        slices[dim] = Slice::from(first..last);
        Self(B::float_slice(self.0, &slices))
    }

    /// Joined along one dimension; a single tensor as it is.
    pub fn cat(mut tensors: Vec<Self>, dim: usize) -> Self {
        if tensors.len() == 1 {
            return tensors.swap_remove(0);
        }
        Self(B::float_cat(tensors.into_iter().map(|t| t.0).collect(), dim))
    }

    /// Joined along the last dimension.
    pub fn cat_last(tensors: Vec<Self>) -> Self {
        let rank = tensors[0].0.rank();
        Self::cat(tensors, rank - 1)
    }

    /// Sum over one dimension, which stays with size one.
    pub fn sum(self, dim: usize) -> Self {
        Self(B::float_sum_dim(self.0, dim))
    }

    /// Sum over the last dimension.
    pub fn sum_last(self) -> Self {
        let rank = self.0.rank();
        self.sum(rank - 1)
    }

    /// Mean over the last dimension.
    pub fn mean_last(self) -> Self {
        let rank = self.0.rank();
        Self(B::float_mean_dim(self.0, rank - 1))
    }

    /// Maximum over the last dimension, without gradient.
    pub fn max_last(self) -> Self {
        let rank = self.0.rank();
        Self(B::float_max_dim(B::float_detach(self.0), rank - 1))
    }

    /// `exp`.
    pub fn exp(self) -> Self {
        Self(B::float_exp(self.0))
    }

    /// Natural logarithm.
    pub fn log(self) -> Self {
        Self(B::float_log(self.0))
    }

    /// Square root.
    pub fn sqrt(self) -> Self {
        Self(B::float_sqrt(self.0))
    }

    /// `1 / x`.
    pub fn recip(self) -> Self {
        Self(B::float_recip(self.0))
    }

    /// Hyperbolic tangent.
    pub fn tanh(self) -> Self {
        Self(B::float_tanh(self.0))
    }

    /// Error function.
    pub fn erf(self) -> Self {
        Self(B::float_erf(self.0))
    }

    /// `1 / (1 + e^-x)`, as `(1 + tanh(x / 2)) / 2`, which does not overflow.
    pub fn sigmoid(self) -> Self {
        (self * 0.5).tanh() * 0.5 + 0.5
    }

    /// `x^2`.
    pub fn square(self) -> Self {
        self.clone() * self
    }

    /// `value` where the mask is true.
    pub fn mask_fill(self, mask: BoolTensor<B>, value: f64) -> Self {
        Self(B::float_mask_fill(self.0, mask, value.into()))
    }

    /// Elements by index along the last dimension.
    pub fn gather_last(self, index: IntTensor<B>) -> Self {
        let rank = self.0.rank();
        Self(B::float_gather(rank - 1, self.0, index))
    }
}

macro_rules! operator {
    ($trait:ident, $method:ident, $tensor:ident, $scalar:ident) => {
        impl<B: Backend> $trait for Float<B> {
            type Output = Self;
            fn $method(self, other: Self) -> Self {
                Self(B::$tensor(self.0, other.0))
            }
        }
        impl<B: Backend> $trait<f64> for Float<B> {
            type Output = Self;
            fn $method(self, other: f64) -> Self {
                Self(B::$scalar(self.0, other.into()))
            }
        }
    };
}

operator!(Add, add, float_add, float_add_scalar);
operator!(Sub, sub, float_sub, float_sub_scalar);
operator!(Mul, mul, float_mul, float_mul_scalar);
operator!(Div, div, float_div, float_div_scalar);
