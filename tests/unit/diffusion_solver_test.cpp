#include "evaluators/diffusion/solver.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "evaluators/diffusion/schedule.hpp"
#include "evaluators/diffusion/tiles.hpp"
#include "optimizers/core/rng.hpp"
#include "tests/support/reference_denoiser.hpp"

namespace paretod {
namespace {

constexpr std::size_t timesteps = 100;

class SolverTest : public testing::Test {
 protected:
  SolverTest() : denoiser_(shape_, simd_kernels()), reference_(shape_, parameters()) {
    denoiser_.assign(parameters().data());
  }

  static const std::vector<float>& parameters() {
    static const std::vector<float> values = [] {
      std::vector<float> all;
      Rng rng(3);
      for (const TensorSpec& spec : denoiser_layout(shape_)) {
        const bool scale = spec.name.ends_with("ln.w");
        for (std::size_t i = 0; i < element_count(spec); ++i) {
          all.push_back(static_cast<float>((scale ? 1 : 0) + 0.4 * rng.normal()));
        }
      }
      return all;
    }();
    return values;
  }

  /// Largest difference of a tile of samples to the plain computation in double precision.
  double error_of(std::vector<ScheduleNode> nodes, double guidance = 1) {
    std::vector<float> noise(tile_lanes * shape_.pixels);
    Rng rng(4);
    for (float& z : noise) z = static_cast<float>(rng.normal());
    AlignedVector<float> x = to_tiles(noise.data(), tile_lanes, shape_.pixels);
    std::size_t labels[tile_lanes];
    for (std::size_t i = 0; i < tile_lanes; ++i) labels[i] = i % 3;

    const ScheduleSampler sampler(denoiser_, shape_, solver_steps(alpha_bar_, nodes),
                                  {guidance, null_class}, simd_kernels());
    ScheduleSampler::Scratch scratch(shape_);
    EXPECT_TRUE(sampler.sample(x.data(), labels, scratch));

    std::sort(nodes.begin(), nodes.end(),
              [](const ScheduleNode& a, const ScheduleNode& b) { return a.time > b.time; });
    std::vector<double> signal;
    for (const ScheduleNode& node : nodes) signal.push_back(alpha_bar_at(alpha_bar_, node.time));
    double worst = 0;
    for (std::size_t i = 0; i < tile_lanes; ++i) {
      const test::Vector start(noise.begin() + static_cast<std::ptrdiff_t>(i * shape_.pixels),
                               noise.begin() + static_cast<std::ptrdiff_t>((i + 1) * shape_.pixels));
      const test::Vector image = test::reference_sample(reference_, signal, nodes, start,
                                                        labels[i], guidance, null_class);
      for (std::size_t p = 0; p < shape_.pixels; ++p) {
        worst = std::max(worst, std::abs(image[p] - double{x[p * tile_lanes + i]}));
      }
    }
    return worst;
  }

  static std::vector<ScheduleNode> at(const std::vector<double>& times, Solver solver) {
    std::vector<ScheduleNode> nodes;
    for (const double time : times) nodes.push_back({time, solver});
    return nodes;
  }

  static constexpr std::size_t null_class = 3;
  static constexpr DenoiserShape shape_{.width = 8, .blocks = 3, .classes = 4, .pixels = 5};
  const std::vector<double> alpha_bar_ = cosine_alpha_bar(timesteps);
  Denoiser denoiser_;
  test::ReferenceDenoiser reference_;
};

const std::vector<double> whole_times = {3, 17, 41, 60, 77, 95};

TEST_F(SolverTest, EverySolverMatchesDoublePrecision) {
  for (const Solver solver : {Solver::ddim, Solver::dpm_solver, Solver::plms}) {
    EXPECT_LT(error_of(at(whole_times, solver)), 2e-5) << name_of(solver);
    EXPECT_LT(error_of(at({42}, solver)), 2e-5) << name_of(solver);
    EXPECT_LT(error_of(at({0, 99}, solver)), 2e-4) << name_of(solver);
  }
}

TEST_F(SolverTest, RealTimesMatchToo) {
  for (const Solver solver : {Solver::ddim, Solver::dpm_solver, Solver::plms}) {
    EXPECT_LT(error_of(at({0.25, 17.5, 41.001, 60.75, 98.5}, solver)), 2e-5) << name_of(solver);
  }
}

TEST_F(SolverTest, SolversDifferWhereTheyShould) {
  // The comparison above would not notice a solver that is another one in disguise.
  const auto steps = [&](Solver solver) { return solver_steps(alpha_bar_, at(whole_times, solver)); };
  for (const SolverStep& step : steps(Solver::ddim)) EXPECT_EQ(step.order, 1U);
  std::vector<std::size_t> orders;
  for (const SolverStep& step : steps(Solver::dpm_solver)) orders.push_back(step.order);
  EXPECT_EQ(orders, (std::vector<std::size_t>{1, 2, 2, 2, 2, 1}));
  orders.clear();
  for (const SolverStep& step : steps(Solver::plms)) orders.push_back(step.order);
  EXPECT_EQ(orders, (std::vector<std::size_t>{1, 2, 3, 4, 4, 4}));
}

TEST_F(SolverTest, EachStepMayHaveItsOwnSolver) {
  std::vector<ScheduleNode> nodes = at(whole_times, Solver::ddim);
  nodes[4].solver = Solver::plms;
  nodes[3].solver = Solver::dpm_solver;
  nodes[2].solver = Solver::dpm_solver;
  nodes[0].solver = Solver::plms;
  EXPECT_LT(error_of(nodes), 2e-5);
}

TEST_F(SolverTest, BlocksAreDroppedPerStep) {
  std::vector<ScheduleNode> nodes = at(whole_times, Solver::dpm_solver);
  nodes[0].dropped = {0, 1, 0};
  nodes[2].dropped = {1, 1, 1};
  nodes[3].dropped = {0, 0, 0};
  nodes[5].dropped = {1, 0, 1};
  EXPECT_LT(error_of(nodes), 2e-5);
}

TEST_F(SolverTest, GuidanceCombinesNoises) {
  for (const double scale : {0.0, 0.5, 3.0}) {
    EXPECT_LT(error_of(at(whole_times, Solver::ddim), scale), 1e-4) << scale;
    EXPECT_LT(error_of(at(whole_times, Solver::plms), scale), 1e-4) << scale;
  }
  EXPECT_EQ(Guidance{1}.passes(), 1U);
  EXPECT_EQ(Guidance{0}.passes(), 2U);
}

TEST_F(SolverTest, FirstOrderStepsAreDdimBitForBit) {
  Denoiser plain(shape_, simd_kernels());
  plain.assign(parameters().data(), ddim_steps(alpha_bar_, {10, 50, 90}));
  AlignedVector<float> expected(shape_.pixels * tile_lanes);
  Rng rng(5);
  for (float& z : expected) z = static_cast<float>(rng.normal());
  AlignedVector<float> x = expected;
  const std::size_t labels[tile_lanes] = {};
  Denoiser::Scratch plain_scratch(shape_);
  ASSERT_TRUE(plain.sample(expected.data(), labels, plain_scratch));
  const ScheduleSampler sampler(denoiser_, shape_,
                                solver_steps(alpha_bar_, at({90, 10, 50}, Solver::ddim)), {},
                                simd_kernels());
  ScheduleSampler::Scratch scratch(shape_);
  ASSERT_TRUE(sampler.sample(x.data(), labels, scratch));
  EXPECT_EQ(x, expected);
}

TEST_F(SolverTest, WhatIsNotFiniteIsNoticedByEverySolver) {
  std::vector<float> poisoned = parameters();
  poisoned[poisoned.size() - 2] = 3e38F;  // of the last bias: overflows in the second step
  poisoned[poisoned.size() - 3] = -3e38F;
  for (float& w : poisoned) w *= 10;
  Denoiser broken(shape_, simd_kernels());
  broken.assign(poisoned.data());
  for (const Solver solver : {Solver::ddim, Solver::dpm_solver, Solver::plms}) {
    const ScheduleSampler sampler(broken, shape_, solver_steps(alpha_bar_, at(whole_times, solver)),
                                  {}, simd_kernels());
    ScheduleSampler::Scratch scratch(shape_);
    AlignedVector<float> x(shape_.pixels * tile_lanes, 0.5F);
    const std::size_t labels[tile_lanes] = {};
    EXPECT_FALSE(sampler.sample(x.data(), labels, scratch)) << name_of(solver);
  }
}

TEST(SolverNames, AreReadBack) {
  for (const std::string& name : solver_names()) EXPECT_EQ(name_of(solver_named(name).value()), name);
  EXPECT_FALSE(solver_named("euler"));
}

TEST(AlphaBarAt, IsLogLinearBetweenTimeSteps) {
  const std::vector<double> alpha_bar = {0.9, 0.4, 0.1};
  EXPECT_EQ(alpha_bar_at(alpha_bar, 0), 0.9);
  EXPECT_EQ(alpha_bar_at(alpha_bar, 2), 0.1);
  EXPECT_NEAR(alpha_bar_at(alpha_bar, 1.5), std::sqrt(0.4 * 0.1), 1e-15);
}

}  // namespace
}  // namespace paretod
