#include "evaluators/diffusion/simd.hpp"

#include "evaluators/diffusion/simd_tables.hpp"

namespace paretod {

SimdKernelList supported_simd_kernels() {
  SimdKernelList list{};
  const auto add = [&list](const SimdKernels* table) {
    if (table != nullptr) list.tables[list.count++] = table;
  };
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) add(avx512_kernels());
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
      __builtin_cpu_supports("f16c")) {
    add(avx2_kernels());
  }
#endif
  add(baseline_kernels());
  return list;
}

const SimdKernels& simd_kernels() {
  return *supported_simd_kernels().tables[0];
}

}  // namespace paretod
