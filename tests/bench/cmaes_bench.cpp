// Evaluations that `cmaes` needs to targets on a function of bbob_functions.hpp, in process.
//   cmaes_bench FUNCTION N FIRST_SEED LAST_SEED BUDGET [SLOTS]
// prints per seed: evaluations to 1e-1, 1e-3, 1e-8 (0: not reached), seconds per evaluation asked.
// With several slots the results come in the order of the asks, each when all slots are full.

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <utility>

#include "optimizers/cmaes.hpp"
#include "tests/bench/bbob_functions.hpp"

namespace {

using namespace paretod;

struct TargetReached {};

class Counted final : public Evaluations {
 public:
  Counted(void* instance, std::uint64_t budget, std::size_t slots)
      : instance_(instance), budget_(budget), slots_(slots) {}

  TrialNumber submit(const Candidate& candidate) override {
    if (remaining() == 0) throw BudgetSpent{};
    waiting_.emplace_back(++submitted_, candidate);
    return submitted_;
  }
  Trial next() override {
    Trial trial;
    trial.number = waiting_.front().first;
    trial.candidate = std::move(waiting_.front().second);
    waiting_.pop_front();
    const double value = bbob_value(instance_, trial.candidate.point.data());
    ++told_;
    for (std::size_t t = 0; t < targets.size(); ++t) {
      if (reached[t] == 0 && value <= targets[t]) reached[t] = told_;
    }
    if (reached.back() != 0) throw TargetReached{};
    trial.objectives = {value};
    trial.standard_errors = {-1};
    return trial;
  }
  [[nodiscard]] std::size_t in_flight() const override { return waiting_.size(); }
  [[nodiscard]] std::uint64_t remaining() const override { return budget_ - submitted_; }
  [[nodiscard]] std::size_t parallelism() const override { return slots_; }
  [[nodiscard]] std::uint64_t told() const { return told_; }

  static constexpr std::array targets = {1e-1, 1e-3, 1e-8};
  std::array<std::uint64_t, targets.size()> reached{};

 private:
  void* instance_;
  std::uint64_t budget_;
  std::size_t slots_;
  std::uint64_t submitted_ = 0, told_ = 0;
  std::deque<std::pair<TrialNumber, Candidate>> waiting_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 6) return 2;
  const auto number = [&](int i) { return std::strtoull(argv[i], nullptr, 10); };
  const auto function = static_cast<unsigned>(number(1));
  const auto n = static_cast<unsigned>(number(2));
  if (function >= bbob_count() || n < 2) return 2;
  std::vector<Parameter> parameters(n);
  for (unsigned i = 0; i < n; ++i) {
    parameters[i].name = "x" + std::to_string(i);
    parameters[i].low = -5;
    parameters[i].high = 5;
  }
  SearchProblem problem{SearchSpace::make(std::move(parameters)).value(), {{"f"}}};
  const Optimizer optimizer = cmaes_optimizer();
  for (std::uint64_t seed = number(3); seed <= number(4); ++seed) {
    void* instance = bbob_make(function, n, seed);
    problem.seed = seed;
    Counted counted(instance, number(5), argc > 6 ? number(6) : 1);
    const auto began = std::chrono::steady_clock::now();
    try {
      optimizer.run(problem, {{"sigma", 0.2}}, counted);
    } catch (const TargetReached&) {
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
    for (const std::uint64_t at : counted.reached) {
      std::printf("%llu ", static_cast<unsigned long long>(at));
    }
    std::printf("%.3g\n", took.count() / static_cast<double>(counted.told()));
    bbob_free(instance);
  }
  return 0;
}
