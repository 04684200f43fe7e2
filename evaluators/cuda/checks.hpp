#pragma once
// Checks of every kernel against plain arithmetic on the processor, on whatever device is current:
// what the self-check program prints on a GPU and the unit tests run under emulation.

#include <cstdint>
#include <string>
#include <vector>

namespace paretod::cuda {

struct CheckResult {
  std::string name;
  double error = 0;  ///< the largest; what it is measured in depends on the check
  double limit = 0;
  std::string fault = {};  ///< what else is wrong: an output that was not written, a refused call
  [[nodiscard]] bool ok() const { return fault.empty() && error <= limit; }
};

/// `large`: sizes that fill a GPU instead of those an emulation can take.
std::vector<CheckResult> check_merge_kernels(bool large, std::uint64_t seed);
std::vector<CheckResult> check_diffusion_kernels(bool large, std::uint64_t seed);

}  // namespace paretod::cuda
