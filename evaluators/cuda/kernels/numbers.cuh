#pragma once
// Numbers as they are stored: float32, IEEE half, bfloat16, and the arithmetic of merging on them.
// The same functions run on the device and on the processor; there the conversions are spelt out.

#include "evaluators/cuda/kernels/language.cuh"
#include "evaluators/cuda/merge_tables.hpp"

namespace paretod::cuda {

struct Half {
  std::uint16_t bits;
};
struct Bfloat {
  std::uint16_t bits;
};

__host__ __device__ __forceinline__ float widen(float value) {
  return value;
}
__host__ __device__ __forceinline__ float widen(Bfloat value) {
  return float_of(std::uint32_t{value.bits} << 16);
}
__host__ __device__ __forceinline__ float widen(Half value) {
#ifdef __CUDA_ARCH__
  float wide;
  asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(value.bits));
  return wide;
#else
  const std::uint32_t magnitude = (std::uint32_t{value.bits} & 0x7FFF) << 13;
  const std::uint32_t sign = (std::uint32_t{value.bits} & 0x8000) << 16;
  // As a float the shifted pattern is 2^-112 of the value, subnormal halves included; infinity and
  // NaN need the full exponent.
  const std::uint32_t special = magnitude >= 0x0F800000 ? 0x7F800000 : 0;
  return float_of(bits_of(float_of(magnitude) * 0x1p112F) | special | sign);
#endif
}

template <class T>
__host__ __device__ T narrow(float value);

template <>
__host__ __device__ __forceinline__ float narrow<float>(float value) {
  return value;
}
/// Round to nearest, ties to even, as all of these.
template <>
__host__ __device__ __forceinline__ Bfloat narrow<Bfloat>(float value) {
#ifdef __CUDA_ARCH__
  Bfloat stored;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(stored.bits) : "f"(value));
  return stored;
#else
  const std::uint32_t bits = bits_of(value);
  if ((bits & 0x7FFFFFFF) > 0x7F800000) return {0x7FFF};
  return {static_cast<std::uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16)};
#endif
}
template <>
__host__ __device__ __forceinline__ Half narrow<Half>(float value) {
#ifdef __CUDA_ARCH__
  Half stored;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(stored.bits) : "f"(value));
  return stored;
#else
  const std::uint32_t bits = bits_of(value);
  const std::uint32_t sign = bits >> 16 & 0x8000;
  const std::uint32_t magnitude = bits & 0x7FFFFFFF;
  if (magnitude > 0x7F800000) return {0x7FFF};
  std::uint32_t rounded;
  if (magnitude >= 0x477FF000) {  // 65520: what rounds beyond 65504
    rounded = 0x7C00;
  } else if (magnitude < 0x38800000) {  // below 2^-14: counted in steps of 2^-24
    rounded = static_cast<std::uint32_t>(std::nearbyint(float_of(magnitude) * 0x1p24F));
  } else {
    rounded = (magnitude + 0xFFF + (magnitude >> 13 & 1) - 0x38000000) >> 13;
  }
  return {static_cast<std::uint16_t>(sign | rounded)};
#endif
}

/// Four consecutive numbers.
struct Four {
  float at[4];
};

template <class T>
struct alignas(4 * sizeof(T)) Packed {
  T at[4];
};

/// Past the caches' keep: sources are read once a pass.  `from` is aligned to four numbers.
__device__ __forceinline__ Four load_four(const float* from) {
  const float4 x = __ldcs(reinterpret_cast<const float4*>(from));
  return {{x.x, x.y, x.z, x.w}};
}
template <class T>
__device__ __forceinline__ Four load_four(const T* from) {
  const uint2 raw = __ldcs(reinterpret_cast<const uint2*>(from));
  return {{widen(T{static_cast<std::uint16_t>(raw.x)}),
           widen(T{static_cast<std::uint16_t>(raw.x >> 16)}),
           widen(T{static_cast<std::uint16_t>(raw.y)}),
           widen(T{static_cast<std::uint16_t>(raw.y >> 16)})}};
}
/// The first `count` numbers, then zeros; any alignment.
template <class T>
__device__ __forceinline__ Four load_some(const T* from, unsigned count) {
  Four x;
  for (unsigned i = 0; i < 4; ++i) x.at[i] = i < count ? widen(from[i]) : 0.0F;
  return x;
}
template <class T>
__device__ __forceinline__ Four load(const T* row, std::uint64_t column, unsigned count,
                                     bool aligned) {
  return aligned && count == 4 ? load_four(row + column) : load_some(row + column, count);
}
__device__ __forceinline__ Four load(Stored stored, const void* row, std::uint64_t column,
                                     unsigned count, bool aligned) {
  switch (stored) {
    case Stored::f16:
      return load(static_cast<const Half*>(row), column, count, aligned);
    case Stored::bf16:
      return load(static_cast<const Bfloat*>(row), column, count, aligned);
    default:
      return load(static_cast<const float*>(row), column, count, aligned);
  }
}

template <class T>
__device__ __forceinline__ void store(T* row, std::uint64_t column, unsigned count, bool aligned,
                                      const Four& x) {
  if (aligned && count == 4) {
    Packed<T> packed;
    for (unsigned i = 0; i < 4; ++i) packed.at[i] = narrow<T>(x.at[i]);
    *reinterpret_cast<Packed<T>*>(row + column) = packed;
    return;
  }
  for (unsigned i = 0; i < 4; ++i) {
    if (i < count) row[column + i] = narrow<T>(x.at[i]);
  }
}
__device__ __forceinline__ void store(Stored stored, void* row, std::uint64_t column,
                                      unsigned count, bool aligned, const Four& x) {
  switch (stored) {
    case Stored::f16:
      return store(static_cast<Half*>(row), column, count, aligned, x);
    case Stored::bf16:
      return store(static_cast<Bfloat*>(row), column, count, aligned, x);
    default:
      return store(static_cast<float*>(row), column, count, aligned, x);
  }
}

/// Four numbers of Philox4x32-10 (Salmon et al., SC 2011) at a 64-bit counter: the masks of the
/// engine on the processor (evaluators/merge), bit for bit.
struct RandomFour {
  std::uint32_t at[4];
};
__host__ __device__ __forceinline__ RandomFour philox(std::uint64_t key, std::uint64_t counter) {
  std::uint32_t c0 = static_cast<std::uint32_t>(counter);
  std::uint32_t c1 = static_cast<std::uint32_t>(counter >> 32);
  std::uint32_t c2 = 0;
  std::uint32_t c3 = 0;
  std::uint32_t k0 = static_cast<std::uint32_t>(key);
  std::uint32_t k1 = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint32_t high0 = high_product(0xD2511F53U, c0);
    const std::uint32_t low0 = 0xD2511F53U * c0;
    const std::uint32_t high1 = high_product(0xCD9E8D57U, c2);
    const std::uint32_t low1 = 0xCD9E8D57U * c2;
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
    k0 += 0x9E3779B9U;
    k1 += 0xBB67AE85U;
  }
  return {{c0, c1, c2, c3}};
}

__host__ __device__ __forceinline__ std::uint32_t magnitude_bits(float value) {
  return bits_of(value) & 0x7FFFFFFFU;
}

}  // namespace paretod::cuda
