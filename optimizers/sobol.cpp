#include "optimizers/sobol.hpp"

#include "optimizers/sobol_sequence.hpp"

namespace paretod {
namespace {

Problems check_sobol(const SearchProblem& problem, const SobolParams&) {
  if (problem.space.dimension() <= SobolSequence::most_dimensions) return {};
  return {{"/space", "sobol fills at most " + std::to_string(SobolSequence::most_dimensions) +
                         " dimensions evenly, the space has " +
                         std::to_string(problem.space.dimension()) + "; use \"random\""}};
}

Report run_sobol(const SearchProblem& problem, const SobolParams& params,
                 Evaluations& evaluations) {
  SobolSequence sequence(problem.space.dimension(), problem.seed);
  std::size_t initial = 0;
  while (true) {
    while (evaluations.slot_free()) {
      Candidate candidate;
      candidate.point = initial < problem.initial.size() ? problem.initial[initial++]
                                                         : problem.space.from_unit(sequence.next());
      candidate.fidelity = static_cast<std::uint64_t>(params.fidelity);
      evaluations.submit(candidate);
    }
    if (evaluations.in_flight() == 0) {
      return {.stop_reason = "budget", .quantities = {}, .rows = {}};
    }
    evaluations.next();
  }
}

}  // namespace

Optimizer sobol_optimizer() {
  return make_optimizer<SobolParams>(
      "sobol", 1, "Even, space-filling sampling by a scrambled Sobol sequence.",
      "Joe and Kuo, SIAM J. Sci. Comput. 30, 2008; Owen, Randomly permuted (t,m,s)-nets, 1995",
      check_sobol, run_sobol);
}

}  // namespace paretod
