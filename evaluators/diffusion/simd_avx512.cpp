// AVX-512F.  Compiled with -mavx512f -mavx2 -mfma; run only where the processor has it.

#include "evaluators/diffusion/simd_tables.hpp"

#if defined(__AVX512F__)

// GCC 12 reports its own _mm512_undefined_ps() as uninitialised.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

#include <immintrin.h>

#include "evaluators/diffusion/simd_kernels.hpp"

namespace paretod {
namespace {

struct Avx512 {
  using F = __m512;
  using D = __m512d;
  static constexpr std::size_t lanes = 16;
  // 24 accumulators, 3 inputs and a weight: 28 of 32 registers.
  static constexpr std::size_t rows = 8;
  static constexpr std::size_t vectors = 3;
  static constexpr std::size_t moment_columns = 4;
  static constexpr std::size_t merge_group = 8;

  static F load(const float* from) { return _mm512_loadu_ps(from); }
  static void store(float* to, F x) { _mm512_storeu_ps(to, x); }
  static F broadcast(float x) { return _mm512_set1_ps(x); }
  static F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  static D fma(D a, D b, D c) { return _mm512_fmadd_pd(a, b, c); }
  static F min(F a, F b) { return _mm512_min_ps(a, b); }
  static F max(F a, F b) { return _mm512_max_ps(a, b); }
  static F sqrt(F x) { return _mm512_sqrt_ps(x); }
  static F round(F x) {
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  static F power_of_two(F n) { return _mm512_scalef_ps(_mm512_set1_ps(1.0F), n); }
  static F load_half(const std::uint16_t* from) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
  }
  static D load_double(const float* from) { return _mm512_cvtps_pd(_mm256_loadu_ps(from)); }
  static D zero_double() { return _mm512_setzero_pd(); }
};

constexpr SimdKernels table = Kernels<Avx512>::table("avx512");

}  // namespace

const SimdKernels* avx512_kernels() {
  return &table;
}

}  // namespace paretod

#else

namespace paretod {
const SimdKernels* avx512_kernels() {
  return nullptr;
}
}  // namespace paretod

#endif
