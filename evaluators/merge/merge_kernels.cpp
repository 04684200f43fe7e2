#include "evaluators/merge/merge_kernels.hpp"

namespace paretod {

MergeKernelList supported_merge_kernels() {
  MergeKernelList list{};
  const auto add = [&list](const MergeKernels* table) {
    if (table != nullptr) list.tables[list.count++] = table;
  };
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) add(avx512_merge_kernels());
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
      __builtin_cpu_supports("f16c")) {
    add(avx2_merge_kernels());
  }
#endif
  add(baseline_merge_kernels());
  return list;
}

const MergeKernels& merge_kernels() {
  return *supported_merge_kernels().tables[0];
}

}  // namespace paretod
