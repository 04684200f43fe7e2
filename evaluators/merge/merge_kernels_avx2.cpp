// AVX2, FMA and F16C.  Compiled with -mavx2 -mfma -mf16c; run only where the processor has them.

#include "evaluators/merge/merge_kernels.hpp"

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)

#include <immintrin.h>

#include "evaluators/merge/merge_kernel_templates.hpp"

namespace paretod {
namespace {

struct Avx2 {
  typedef __m256 F;
  typedef std::int32_t I __attribute__((vector_size(32)));
  typedef std::uint32_t U __attribute__((vector_size(32)));
  typedef std::uint16_t H __attribute__((vector_size(16)));
  static constexpr std::size_t lanes = 8;
  // 8 accumulators, 2 inputs and a weight of 16 registers.
  static constexpr std::size_t group = 4;

  static F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  static F widen_half(H x) { return _mm256_cvtph_ps((__m128i)x); }
  static H narrow_half(F x) { return (H)_mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT); }
  static void stream(std::byte* to, F x) { _mm256_stream_ps(reinterpret_cast<float*>(to), x); }
  static void stream(std::byte* to, H x) {
    _mm_stream_si128(reinterpret_cast<__m128i*>(to), (__m128i)x);
  }
  static void fence() { _mm_sfence(); }
};

constexpr MergeKernels table = MergeKernelSet<Avx2>::table("avx2");

}  // namespace

const MergeKernels* avx2_merge_kernels() {
  return &table;
}

}  // namespace paretod

#else

namespace paretod {
const MergeKernels* avx2_merge_kernels() {
  return nullptr;
}
}  // namespace paretod

#endif
