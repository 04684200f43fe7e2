#pragma once
// The table of each instruction set; null where the compiler was not told to use it.  Only simd.cpp
// asks, and it asks the processor first.

#include "evaluators/diffusion/simd.hpp"

namespace paretod {

const SimdKernels* avx512_kernels();
const SimdKernels* avx2_kernels();
const SimdKernels* baseline_kernels();

}  // namespace paretod
