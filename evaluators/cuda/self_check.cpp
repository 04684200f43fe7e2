// paretod-cuda-check: every kernel against plain arithmetic on the processor.  Prints a line per
// check; exits with 1 when one fails, with 77 when there is no device.

#include <cstdio>
#include <cstdlib>
#include <string>

#include "evaluators/cuda/checks.hpp"
#include "evaluators/cuda/device.hpp"

int main(int argc, char** argv) {
  using namespace paretod::cuda;
  int devices = 0;
  const cudaError_t found = cudaGetDeviceCount(&devices);
  if (found != cudaSuccess || devices == 0) {
    std::printf("SKIPPED: there is no CUDA device here%s%s\n", found == cudaSuccess ? "" : ": ",
                found == cudaSuccess ? "" : cudaGetErrorString(found));
    return 77;
  }
  const std::string size = argc > 1 ? argv[1] : "large";
  if (argc > 3 || (size != "large" && size != "small")) {
    std::fprintf(stderr, "usage: paretod-cuda-check [large|small [SEED]]\n");
    return 2;
  }
  const std::uint64_t seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1;
  int failed = 0;
  int count = 0;
  try {
    cudaDeviceProp properties;
    check(cudaGetDeviceProperties(&properties, 0), "asking for the device's properties");
    std::printf("%s, compute capability %d.%d, seed %llu\n", properties.name, properties.major,
                properties.minor, static_cast<unsigned long long>(seed));
    for (auto* checks : {check_merge_kernels, check_diffusion_kernels}) {
      for (const CheckResult& result : checks(size == "large", seed)) {
        ++count;
        failed += result.ok() ? 0 : 1;
        std::printf("%-6s %-78s error %9.3g, limit %9.3g%s%s\n", result.ok() ? "ok" : "FAILED",
                    result.name.c_str(), result.error, result.limit,
                    result.fault.empty() ? "" : ": ", result.fault.c_str());
        std::fflush(stdout);
      }
    }
  } catch (const CudaError& error) {
    std::printf("FAILED: %s\n", error.what());
    return 1;
  }
  std::printf("%d of %d checks failed\n", failed, count);
  return failed == 0 ? 0 : 1;
}
