// The diffusion kernels of evaluators/cuda on the emulated device; paretod-cuda-check runs the same
// checks on a GPU.

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <vector>

#include "evaluators/cuda/checks.hpp"

namespace paretod::cuda {
namespace {

class CudaDiffusion : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override { emulation::reverse_order = GetParam(); }
  void TearDown() override { emulation::reverse_order = false; }
};

TEST_P(CudaDiffusion, AgreesWithPlainArithmetic) {
  for (const CheckResult& result : check_diffusion_kernels(false, 1)) {
    EXPECT_TRUE(result.ok()) << result.name << ": error " << result.error << ", limit "
                             << result.limit << " " << result.fault;
  }
}

INSTANTIATE_TEST_SUITE_P(OrderOfThreads, CudaDiffusion, testing::Bool());

}  // namespace
}  // namespace paretod::cuda
