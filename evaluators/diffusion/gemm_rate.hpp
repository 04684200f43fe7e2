#pragma once
// The ceiling that an evaluation's speed is compared with.

#include "evaluators/diffusion/simd.hpp"

namespace paretod {

/// Floating-point operations per second (two per multiply-add) of one core multiplying matrices
/// that stay in its first-level cache: the best of many short runs over about `seconds`.
double measure_gemm_rate(const SimdKernels& kernels, double seconds);

}  // namespace paretod
