#include "tests/support/line_surrogate.hpp"

namespace paretod {

template <>
Fields<test::LineParams> describe() {
  return {};
}

namespace test {

Optimizer line_optimizer() {
  Optimizer optimizer = make_optimizer<LineParams>(
      "line", 1, "test", "test", [](const SearchProblem&, const LineParams&) { return Problems(); },
      [](const SearchProblem& problem, const LineParams&, Evaluations& evaluations) {
        std::uint64_t drawn = 0;
        while (true) {
          while (evaluations.slot_free()) {
            Rng rng(problem.seed, ++drawn);
            evaluations.submit({{rng.uniform()}});
          }
          if (evaluations.in_flight() == 0) return Report{"budget", {}, {}};
          evaluations.next();
        }
      });
  optimizer.surrogate =
      [](const SearchProblem&, const ParamValues&,
         const std::vector<Trial>& trials) -> Result<std::shared_ptr<const Surrogate>> {
    const bool any = std::any_of(trials.begin(), trials.end(), [](auto& t) { return t.ok(); });
    if (!any) return Error{ErrorKind::unavailable, "no trial of the job has been measured"};
    return std::shared_ptr<const Surrogate>(std::make_shared<LineSurrogate>(trials));
  };
  return optimizer;
}

}  // namespace test
}  // namespace paretod
