#pragma once
// Widening of stored numbers to float, vectorised where the processor can.  Pure functions; sources
// need no alignment.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "adapters/safetensors/safetensors.hpp"
#include "optimizers/core/result.hpp"

namespace paretod {

/// IEEE 754 binary16, exact; subnormals, infinities and NaN included.
void widen_f16(const std::byte* from, std::size_t count, float* to);
/// bfloat16: the upper half of a float, exact.
void widen_bf16(const std::byte* from, std::size_t count, float* to);

/// F16, BF16, F32 exactly; F64, U8, I8, U16 and I16 converted.  Other dtypes are an error that
/// names the tensor.
Result<std::vector<float>> to_floats(const TensorView& tensor);

}  // namespace paretod
