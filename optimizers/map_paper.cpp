#include "optimizers/map_paper.hpp"

#include <deque>
#include <string>
#include <utility>

#include "optimizers/core/front.hpp"
#include "optimizers/nsga3.hpp"

namespace paretod {
namespace {

constexpr std::size_t population = 100, generations = 25;

/// Models in place of the world.
class ModelEvaluations final : public Evaluations {
 public:
  explicit ModelEvaluations(const FrontSolver& solver) : solver_(solver) {}

  TrialNumber submit(const Candidate& candidate) override {
    waiting_.push_back(candidate);
    return ++submitted_;
  }
  Trial next() override {
    Trial trial;
    trial.number = ++told_;
    trial.candidate = std::move(waiting_.front());
    waiting_.pop_front();
    trial.objectives = solver_.objectives(trial.candidate.point);
    trial.standard_errors.assign(trial.objectives.size(), -1);
    seen.push_back({trial.candidate.point, trial.objectives});
    return trial;
  }
  [[nodiscard]] std::size_t in_flight() const override { return waiting_.size(); }
  [[nodiscard]] std::uint64_t remaining() const override {
    return population * (generations + 1) - submitted_;
  }
  [[nodiscard]] std::size_t parallelism() const override { return 1; }

  std::vector<SolverPoint> seen;

 private:
  const FrontSolver& solver_;
  std::deque<Candidate> waiting_;
  std::uint64_t submitted_ = 0, told_ = 0;
};

/// Two layers: 2 divisions, and 1 division shrunk by half.
std::vector<std::vector<double>> paper_directions(std::size_t objectives) {
  auto directions = reference_directions(objectives, 2);
  for (std::vector<double>& inner : reference_directions(objectives, 1)) {
    for (double& w : inner) w = w / 2 + 0.5 / static_cast<double>(objectives);
    directions.push_back(std::move(inner));
  }
  return directions;
}

}  // namespace

std::vector<SolverPoint> paper_front(const FrontSolver& solver, const SolverDomain& domain,
                                     std::uint64_t seed) {
  std::vector<Parameter> parameters;
  for (std::size_t d = 0; d < domain.low.size(); ++d) {
    Parameter parameter;
    parameter.name = "x" + std::to_string(d);
    // Mended: the box that was sampled, not [-3, 3], where the surrogates promise the impossible.
    parameter.low = domain.low[d];
    parameter.high = domain.high[d];
    if (!(parameter.low < parameter.high)) parameter.high = parameter.low + 1e-9;
    parameters.push_back(std::move(parameter));
  }
  const std::size_t m = solver.ideal().size();
  SearchProblem problem{SearchSpace::make(std::move(parameters)).value(), {}, seed};
  for (std::size_t k = 0; k < m; ++k) problem.objectives.push_back({"y" + std::to_string(k)});
  // Theirs either crosses or mutates a child (0.7 and 0.3) and replaces whole generations; here a
  // child may do both, and replaces one at a time, at the same number of surrogate calls.
  SteadyStateParams params;
  params.crossover_probability = 0.7;
  params.crossover_index = 20;
  params.mutation_index = 20;
  ModelEvaluations evaluations(solver);
  search_along(paper_directions(m), population, problem, params, evaluations);
  ParetoArchive archive;
  for (std::size_t i = 0; i < evaluations.seen.size(); ++i) {
    archive.insert(i, evaluations.seen[i].y);
  }
  std::vector<SolverPoint> front;
  for (std::size_t i = 0; i < archive.size(); ++i) {
    front.push_back(evaluations.seen[archive.id(i)]);
  }
  return front;
}

}  // namespace paretod
