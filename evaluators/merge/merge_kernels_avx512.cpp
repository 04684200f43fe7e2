// AVX-512F.  Compiled with -mavx512f -mavx2 -mfma; run only where the processor has it.

#include "evaluators/merge/merge_kernels.hpp"

#if defined(__AVX512F__)

// GCC 12 reports its own _mm512_undefined_ps() as uninitialised.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

#include <immintrin.h>

#include "evaluators/merge/merge_kernel_templates.hpp"

namespace paretod {
namespace {

struct Avx512 {
  typedef __m512 F;
  typedef std::int32_t I __attribute__((vector_size(64)));
  typedef std::uint32_t U __attribute__((vector_size(64)));
  typedef std::uint16_t H __attribute__((vector_size(32)));
  static constexpr std::size_t lanes = 16;
  // 16 accumulators, 2 inputs and a weight of 32 registers.
  static constexpr std::size_t group = 8;

  static F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  static F widen_half(H x) { return _mm512_cvtph_ps((__m256i)x); }
  static H narrow_half(F x) { return (H)_mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT); }
  static void stream(std::byte* to, F x) { _mm512_stream_ps(reinterpret_cast<float*>(to), x); }
  static void stream(std::byte* to, H x) {
    _mm256_stream_si256(reinterpret_cast<__m256i*>(to), (__m256i)x);
  }
  static void fence() { _mm_sfence(); }
};

constexpr MergeKernels table = MergeKernelSet<Avx512>::table("avx512");

}  // namespace

const MergeKernels* avx512_merge_kernels() {
  return &table;
}

}  // namespace paretod

#else

namespace paretod {
const MergeKernels* avx512_merge_kernels() {
  return nullptr;
}
}  // namespace paretod

#endif
