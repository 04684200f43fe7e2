// The merge kernels of evaluators/cuda on the emulated device; paretod-cuda-check runs the same
// checks on a GPU.

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "evaluators/cuda/checks.hpp"
#include "evaluators/cuda/merge_plan.hpp"
#include "evaluators/cuda/paretod_cuda.h"

namespace paretod::cuda {
namespace {

void expect_all_hold(const std::vector<CheckResult>& results) {
  ASSERT_FALSE(results.empty());
  for (const CheckResult& result : results) {
    EXPECT_TRUE(result.ok()) << result.name << ": error " << result.error << ", limit "
                             << result.limit << " " << result.fault;
  }
}

TEST(CudaMerge, AgreesWithPlainArithmetic) {
  expect_all_hold(check_merge_kernels(false, 1));
}

TEST(CudaMerge, DoesNotDependOnTheOrderOfThreads) {
  emulation::reverse_order = true;
  expect_all_hold(check_merge_kernels(false, 2));
  emulation::reverse_order = false;
}

TEST(CudaMerge, LeavesNothingBehind) {
  EXPECT_EQ(emulation::allocated(), 0U);
}

/// One tensor of four elements from two sources.
class CInterface : public testing::Test {
 protected:
  int create() {
    sources_ = {first_.data(), second_.data()};
    outputs_ = {out_.data()};
    paretod_cuda_tensor tensor{};
    tensor.name = "w";
    tensor.elements = first_.size();
    tensor.base = base_;
    tensor.sources = sources_.data();
    tensor.outputs = outputs_.data();
    return paretod_cuda_plan_create(0, &rule_, 2, 1, &tensor, 1, &plan_, error_.data(),
                                    error_.size());
  }
  void TearDown() override { paretod_cuda_plan_destroy(plan_); }

  std::array<float, 4> first_{1, 2, 3, 4};
  std::array<float, 4> second_{10, 20, 30, 40};
  std::array<float, 4> out_{};
  const void* base_ = nullptr;
  std::array<const void*, 2> sources_{};
  std::array<void*, 1> outputs_{};
  paretod_cuda_rule rule_{"linear", 0, nullptr, 0.01, 1, 0, 0, 0, PARETOD_CUDA_AUTOMATIC};
  paretod_cuda_plan* plan_ = nullptr;
  std::array<char, 256> error_{};
};

TEST_F(CInterface, MergesInPlaceOfTheCallersMemory) {
  ASSERT_EQ(create(), PARETOD_CUDA_OK) << error_.data();
  EXPECT_EQ(paretod_cuda_plan_input_bytes(plan_), 32U);
  EXPECT_EQ(paretod_cuda_plan_output_bytes(plan_), 16U);
  for (const double weight : {0.5, -1.0}) {
    const std::array<double, 2> weights{2, weight};
    const paretod_cuda_candidate candidate{weights.data(), nullptr, nullptr, nullptr, 0};
    ASSERT_EQ(paretod_cuda_plan_run(plan_, &candidate, 1, nullptr, error_.data(), error_.size()),
              PARETOD_CUDA_OK)
        << error_.data();
    for (std::size_t i = 0; i < out_.size(); ++i) {
      EXPECT_EQ(out_[i], 2 * first_[i] + static_cast<float>(weight) * second_[i]);
    }
  }
}

TEST_F(CInterface, SaysWhatIsWrong) {
  rule_.method = "della";
  EXPECT_EQ(create(), PARETOD_CUDA_INVALID);
  EXPECT_NE(std::string(error_.data()).find("della is merged by the processor only"),
            std::string::npos)
      << error_.data();
  rule_.method = "fisher";
  EXPECT_EQ(create(), PARETOD_CUDA_INVALID);
  EXPECT_NE(std::string(error_.data()).find("needs one row of importances per source"),
            std::string::npos)
      << error_.data();
  rule_.method = "average";
  EXPECT_EQ(create(), PARETOD_CUDA_INVALID);
  EXPECT_NE(std::string(error_.data()).find("no method is called \"average\""), std::string::npos);
  rule_.method = "ties";
  EXPECT_EQ(create(), PARETOD_CUDA_INVALID);
  EXPECT_NE(std::string(error_.data()).find("needs a base"), std::string::npos) << error_.data();
  base_ = out_.data();
  EXPECT_EQ(create(), PARETOD_CUDA_INVALID);
  EXPECT_NE(std::string(error_.data()).find("overlaps"), std::string::npos) << error_.data();
}

TEST_F(CInterface, RefusesNumbersThatCannotBeMerged) {
  ASSERT_EQ(create(), PARETOD_CUDA_OK) << error_.data();
  const std::array<double, 2> weights{1, INFINITY};
  const paretod_cuda_candidate candidate{weights.data(), nullptr, nullptr, nullptr, 0};
  EXPECT_EQ(paretod_cuda_plan_run(plan_, &candidate, 1, nullptr, error_.data(), error_.size()),
            PARETOD_CUDA_INVALID);
  EXPECT_NE(std::string(error_.data()).find("/groups/0/weights/1"), std::string::npos)
      << error_.data();
  EXPECT_EQ(paretod_cuda_plan_run(plan_, nullptr, 2, nullptr, error_.data(), error_.size()),
            PARETOD_CUDA_INVALID);
  EXPECT_EQ(out_, (std::array<float, 4>{}));
}

}  // namespace
}  // namespace paretod::cuda
