// Four lanes in the compiler's own vectors: whatever the target offers everywhere (SSE2 on x86-64,
// NEON on ARM).  The reference for the other tables' tests.

#include "adapters/safetensors/narrow.hpp"
#include "adapters/safetensors/widen.hpp"
#include "evaluators/merge/merge_kernel_templates.hpp"

namespace paretod {
namespace {

struct Baseline {
  typedef float F __attribute__((vector_size(16)));
  typedef std::int32_t I __attribute__((vector_size(16)));
  typedef std::uint32_t U __attribute__((vector_size(16)));
  typedef std::uint16_t H __attribute__((vector_size(8)));
  static constexpr std::size_t lanes = 4;
  static constexpr std::size_t group = 4;

  static F fma(F a, F b, F c) { return a * b + c; }
  static F widen_half(H x) {
    F out;
    widen_f16(reinterpret_cast<const std::byte*>(&x), lanes, reinterpret_cast<float*>(&out));
    return out;
  }
  static H narrow_half(F x) {
    H out;
    narrow_f16(reinterpret_cast<const float*>(&x), lanes, reinterpret_cast<std::byte*>(&out));
    return out;
  }
  template <class V>
  static void stream(std::byte* to, V x) {
    __builtin_memcpy(to, &x, sizeof x);
  }
  static void fence() {}
};

constexpr MergeKernels table = MergeKernelSet<Baseline>::table("baseline");

}  // namespace

const MergeKernels* baseline_merge_kernels() {
  return &table;
}

}  // namespace paretod
