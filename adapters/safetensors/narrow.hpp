#pragma once
// Narrowing of floats to stored numbers, rounded to nearest, ties to even; the inverse of
// widen.hpp. Pure functions; targets need no alignment.

#include <cstddef>

namespace paretod {

/// IEEE 754 binary16: beyond 65504 (rounded) infinity, below 2^-24 (rounded) zero; NaN stays NaN.
void narrow_f16(const float* from, std::size_t count, std::byte* to);
/// bfloat16; NaN stays NaN.
void narrow_bf16(const float* from, std::size_t count, std::byte* to);

}  // namespace paretod
