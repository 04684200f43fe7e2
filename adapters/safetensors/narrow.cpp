#include "adapters/safetensors/narrow.hpp"

#include <bit>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace paretod {
namespace {

constexpr std::uint32_t infinity_bits = 0x7F800000U;

std::uint16_t to_half(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = bits >> 16 & 0x8000U;
  std::uint32_t magnitude = bits & 0x7FFFFFFFU;
  if (magnitude > infinity_bits) {
    magnitude = 0x7E00U | (magnitude >> 13 & 0x1FFU);
  } else if (magnitude >= 0x477FF000U) {  // 65520, the first that rounds beyond 65504
    magnitude = 0x7C00U;
  } else if (magnitude < 0x38800000U) {  // below 2^-14: the adder rounds to multiples of 2^-24
    const float shifted = std::bit_cast<float>(magnitude) + 0.5F;
    magnitude = std::bit_cast<std::uint32_t>(shifted) - std::bit_cast<std::uint32_t>(0.5F);
  } else {
    const std::uint32_t odd = magnitude >> 13 & 1U;
    magnitude = (magnitude - (112U << 23) + 0xFFFU + odd) >> 13;
  }
  return static_cast<std::uint16_t>(sign | magnitude);
}

std::uint16_t to_bfloat(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t rounded = (bits + 0x7FFFU + (bits >> 16 & 1U)) >> 16;
  const std::uint32_t quiet = bits >> 16 | 0x40U;
  return static_cast<std::uint16_t>((bits & 0x7FFFFFFFU) > infinity_bits ? quiet : rounded);
}

#if defined(__x86_64__)
__attribute__((target("avx,f16c"))) std::size_t narrow_f16_f16c(const float* from,
                                                                std::size_t count, std::byte* to) {
  std::size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 2 * i),
                     _mm256_cvtps_ph(_mm256_loadu_ps(from + i), _MM_FROUND_TO_NEAREST_INT));
  }
  return i;
}
#endif

}  // namespace

void narrow_f16(const float* from, std::size_t count, std::byte* to) {
  std::size_t i = 0;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("f16c")) i = narrow_f16_f16c(from, count, to);
#endif
  for (; i < count; ++i) {
    const std::uint16_t half = to_half(from[i]);
    std::memcpy(to + 2 * i, &half, sizeof half);
  }
}

void narrow_bf16(const float* from, std::size_t count, std::byte* to) {
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint16_t bfloat = to_bfloat(from[i]);
    std::memcpy(to + 2 * i, &bfloat, sizeof bfloat);
  }
}

}  // namespace paretod
