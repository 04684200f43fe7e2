// Evaluations that `cmaes` needs to targets on a function of bbob_functions.hpp, in process.
//   cmaes_bench FUNCTION N FIRST_SEED LAST_SEED BUDGET [SLOTS]
// prints per seed: evaluations to 1e-1, 1e-3, 1e-8 (0: not reached), seconds per evaluation asked.
// With several slots the results come in the order of the asks, each when all slots are full.

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "optimizers/cmaes.hpp"
#include "tests/bench/bbob_functions.hpp"
#include "tests/support/direct_evaluations.hpp"

namespace {

using namespace paretod;

struct TargetReached {};

constexpr std::array targets = {1e-1, 1e-3, 1e-8};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 6) return 2;
  const auto number = [&](int i) { return std::strtoull(argv[i], nullptr, 10); };
  const auto which = static_cast<unsigned>(number(1));
  const auto n = static_cast<unsigned>(number(2));
  if (which >= bbob_count() || n < 2) return 2;
  std::vector<Parameter> parameters(n);
  for (unsigned i = 0; i < n; ++i) {
    parameters[i].name = "x" + std::to_string(i);
    parameters[i].low = -5;
    parameters[i].high = 5;
  }
  SearchProblem problem{SearchSpace::make(std::move(parameters)).value(), {{"f"}}};
  const Optimizer optimizer = cmaes_optimizer();
  for (std::uint64_t seed = number(3); seed <= number(4); ++seed) {
    void* instance = bbob_make(which, n, seed);
    problem.seed = seed;
    std::uint64_t told = 0;
    std::array<std::uint64_t, targets.size()> reached{};
    const auto function = [&](const Point& x) {
      const double value = bbob_value(instance, x.data());
      ++told;
      for (std::size_t t = 0; t < targets.size(); ++t) {
        if (reached[t] == 0 && value <= targets[t]) reached[t] = told;
      }
      if (reached.back() != 0) throw TargetReached{};
      return std::vector{value};
    };
    DirectEvaluations evaluations(function, number(5), argc > 6 ? number(6) : 1);
    const auto began = std::chrono::steady_clock::now();
    try {
      optimizer.run(problem, {{"sigma", 0.2}}, evaluations);
    } catch (const TargetReached&) {
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
    for (const std::uint64_t at : reached) {
      std::printf("%llu ", static_cast<unsigned long long>(at));
    }
    std::printf("%.3g\n", took.count() / static_cast<double>(told));
    bbob_free(instance);
  }
  return 0;
}
