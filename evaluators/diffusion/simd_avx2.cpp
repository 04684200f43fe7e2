// AVX2, FMA and F16C.  Compiled with -mavx2 -mfma -mf16c; run only where the processor has them.

#include "evaluators/diffusion/simd_tables.hpp"

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)

#include <immintrin.h>

#include "evaluators/diffusion/simd_kernels.hpp"

namespace paretod {
namespace {

struct Avx2 {
  using F = __m256;
  using D = __m256d;
  static constexpr std::size_t lanes = 8;
  // 12 accumulators, 3 inputs and a weight: all 16 registers.
  static constexpr std::size_t rows = 4;
  static constexpr std::size_t vectors = 3;
  static constexpr std::size_t moment_columns = 2;
  static constexpr std::size_t merge_group = 4;

  static F load(const float* from) { return _mm256_loadu_ps(from); }
  static void store(float* to, F x) { _mm256_storeu_ps(to, x); }
  static F broadcast(float x) { return _mm256_set1_ps(x); }
  static F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  static D fma(D a, D b, D c) { return _mm256_fmadd_pd(a, b, c); }
  static F min(F a, F b) { return _mm256_min_ps(a, b); }
  static F max(F a, F b) { return _mm256_max_ps(a, b); }
  static F sqrt(F x) { return _mm256_sqrt_ps(x); }
  static F round(F x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static F power_of_two(F n) {
    const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
  }
  static F load_half(const std::uint16_t* from) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  }
  static D load_double(const float* from) { return _mm256_cvtps_pd(_mm_loadu_ps(from)); }
  static D zero_double() { return _mm256_setzero_pd(); }
};

constexpr SimdKernels table = Kernels<Avx2>::table("avx2");

}  // namespace

const SimdKernels* avx2_kernels() {
  return &table;
}

}  // namespace paretod

#else

namespace paretod {
const SimdKernels* avx2_kernels() {
  return nullptr;
}
}  // namespace paretod

#endif
