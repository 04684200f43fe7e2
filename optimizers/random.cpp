#include "optimizers/random.hpp"

namespace paretod {
namespace {

Problems check_random(const SearchProblem&, const RandomParams&) {
  return {};
}

Report run_random(const SearchProblem& problem, const RandomParams& params,
                  Evaluations& evaluations) {
  std::uint64_t drawn = 0;
  while (true) {
    while (evaluations.slot_free()) {
      Rng rng(problem.seed, ++drawn);
      Candidate candidate;
      candidate.point =
          drawn <= problem.initial.size() ? problem.initial[drawn - 1] : problem.space.sample(rng);
      candidate.fidelity = static_cast<std::uint64_t>(params.fidelity);
      evaluations.submit(candidate);
    }
    if (evaluations.in_flight() == 0)
      return {.stop_reason = "budget", .quantities = {}, .rows = {}};
    evaluations.next();
  }
}

}  // namespace

Optimizer random_optimizer() {
  return make_optimizer<RandomParams>(
      "random", 1, "Uniform random sampling of the space.",
      "Bergstra and Bengio, Random search for hyper-parameter optimization, JMLR 13, 2012",
      check_random, run_random);
}

}  // namespace paretod
