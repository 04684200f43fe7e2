// Behind scripts/bench-evo: searches on planted pools of adapters, in process.
//
//   evo_bench run N SEED TASKS NAME=VALUE...     evo_merging with these parameters
//   evo_bench nsga2 N SEED TASKS CALLS           nsga2 of the registry on all 2 N numbers
//   evo_bench random N SEED CALLS                uniform points, each on all search examples
//   evo_bench serve N SEED                       lines "SPLIT alpha... beta..." in, losses out
//
// `run`, `random` print: calls, that is examples evaluated to search and to select (a candidate's
// examples once), the share of the gap between base model and true model that the result closes on
// the report split, the same of the best single adapter and of the worst control (0 where there is
// none), and seconds.  With two tasks, and for nsga2: calls, and the hypervolume over both shares,
// from (0, 0), of the result's trade-offs on the report split.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "optimizers/core/front.hpp"
#include "optimizers/core/rng.hpp"
#include "optimizers/evo_merging.hpp"
#include "optimizers/merge_search.hpp"
#include "optimizers/nsga2.hpp"
#include "tests/support/evo_pool_job.hpp"

namespace paretod {
namespace {

EvoPool pool_for(std::size_t n, std::uint64_t seed) {
  const std::size_t informative = n < 10 ? 3 : n < 50 ? 5 : 8;
  return {n, informative, n < 10 ? 2 : n / 5, seed};
}

/// One slot; counts what would be paid.
class PoolEvaluations final : public Evaluations {
 public:
  PoolEvaluations(const EvoPool& pool, const SearchProblem& problem, std::uint64_t most_calls)
      : pool_(pool), problem_(problem), most_calls_(most_calls) {}

  TrialNumber submit(const Candidate& candidate) override {
    if (calls_ >= most_calls_) throw BudgetSpent{};
    waiting_.emplace_back(++submitted_, candidate);
    return submitted_;
  }
  Trial next() override {
    const auto [number, candidate] = waiting_.front();
    waiting_.pop_front();
    const Examples examples = examples_of(candidate);
    std::vector<bool>& paid = paid_[{candidate.point, examples.split}];
    paid.resize(EvoPool::split_sizes[examples.split]);
    for (std::size_t k = 0; k < examples.count; ++k) {
      const std::size_t i = (examples.first + k) % paid.size();
      if (!paid[i] && examples.split != report_split) ++calls_;
      paid[i] = true;
    }
    const Outcome outcome = measure_merge(pool_, candidate, problem_.objectives.size());
    Trial trial = trial_view(number, candidate, outcome, problem_.objectives);
    if (candidate.fidelity == 0) whole_.push_back(trial);
    return trial;
  }
  [[nodiscard]] std::size_t in_flight() const override { return waiting_.size(); }
  [[nodiscard]] std::uint64_t remaining() const override { return 1'000'000'000 - submitted_; }
  [[nodiscard]] std::size_t parallelism() const override { return 1; }
  [[nodiscard]] std::uint64_t calls() const { return calls_; }
  [[nodiscard]] const std::vector<Trial>& whole() const { return whole_; }

 private:
  const EvoPool& pool_;
  const SearchProblem& problem_;
  const std::uint64_t most_calls_;
  std::uint64_t submitted_ = 0, calls_ = 0;
  std::deque<std::pair<TrialNumber, Candidate>> waiting_;
  std::map<std::pair<Point, std::size_t>, std::vector<bool>> paid_;
  std::vector<Trial> whole_;  ///< evaluated on a whole split
};

ParamValues params_from(int count, char** texts) {
  ParamValues params;
  for (int i = 0; i < count; ++i) {
    const std::string text = texts[i];
    const std::string name = text.substr(0, text.find('='));
    const std::string value = text.substr(text.find('=') + 1);
    for (const FieldInfo& field : evo_merging_optimizer().fields) {
      if (field.name != name) continue;
      if (std::holds_alternative<bool>(field.default_value)) {
        params[name] = value == "true";
      } else if (std::holds_alternative<std::int64_t>(field.default_value)) {
        params[name] = static_cast<std::int64_t>(std::atoll(value.c_str()));
      } else if (std::holds_alternative<double>(field.default_value)) {
        params[name] = std::atof(value.c_str());
      } else {
        params[name] = value;
      }
    }
    if (!params.contains(name)) std::fprintf(stderr, "no parameter %s\n", name.c_str());
  }
  return params;
}

double report_loss(const EvoPool& pool, const Point& point, std::size_t task = 0) {
  return measure_merge(pool, {point, 0, report_split}, task + 1).objectives[task].value;
}

double volume(const EvoPool& pool, const std::vector<Point>& points) {
  std::vector<std::vector<double>> shares;
  for (const Point& point : points) {
    shares.push_back({-gap_closed(pool, report_loss(pool, point, 0), 0),
                      -gap_closed(pool, report_loss(pool, point, 1), 1)});
  }
  return hypervolume(std::move(shares), {0, 0});
}

int run(std::size_t n, std::uint64_t seed, std::size_t tasks, const ParamValues& params) {
  const EvoPool pool = pool_for(n, seed);
  const SearchProblem problem = merge_problem(n, 0, seed, tasks);
  const Optimizer optimizer = evo_merging_optimizer();
  for (const Problem& found : optimizer.check(problem, params)) {
    std::fprintf(stderr, "%s: %s\n", found.pointer.c_str(), found.message.c_str());
    return 1;
  }
  PoolEvaluations evaluations(pool, problem, -1ULL);
  const auto began = std::chrono::steady_clock::now();
  const Report report = optimizer.run(problem, params, evaluations);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  std::printf("%llu ", static_cast<unsigned long long>(evaluations.calls()));
  if (tasks > 1) {
    std::vector<Point> front;
    for (const ReportRow& row : report.rows) {
      if (row.name == "found" || row.name.starts_with("front:")) front.push_back(row.point);
    }
    std::printf("%.6f\n", volume(pool, front));
    return 0;
  }
  double single = 0, control = 0;
  for (const ReportRow& row : report.rows) {
    const double share = gap_closed(pool, row.estimates[0].mean);
    if (row.name.starts_with("best_single")) single = share;
    if (row.name.starts_with("shuffled")) control = std::min(control, share);
  }
  std::printf("%.6f %.6f %.6f %.4f\n", gap_closed(pool, report.rows[0].estimates[0].mean), single,
              control, took.count());
  return 0;
}

/// The front of the trials on all search examples; of these, as many as evo_merging reports,
/// evenly along the first objective.
int run_nsga2(std::size_t n, std::uint64_t seed, std::size_t tasks, std::uint64_t calls) {
  const EvoPool pool = pool_for(n, seed);
  const SearchProblem problem = merge_problem(n, 0, seed, tasks);
  PoolEvaluations evaluations(pool, problem, calls);
  try {
    nsga2_optimizer().run(problem, {{"population", std::int64_t{40}}}, evaluations);
  } catch (const BudgetSpent&) {
  }
  ParetoArchive archive;
  const std::vector<Trial>& trials = evaluations.whole();
  for (std::size_t i = 0; i < trials.size(); ++i) archive.insert(i, trials[i].objectives);
  std::vector<Point> front;
  constexpr std::size_t most = 6;
  for (std::size_t k = 0; k < std::min(most, archive.size()); ++k) {
    const std::size_t member = archive.size() <= most ? k : k * (archive.size() - 1) / (most - 1);
    front.push_back(trials[archive.id(member)].candidate.point);
  }
  std::printf("%llu %.6f\n", static_cast<unsigned long long>(evaluations.calls()),
              volume(pool, front));
  return 0;
}

int run_random(std::size_t n, std::uint64_t seed, std::uint64_t calls) {
  const EvoPool pool = pool_for(n, seed);
  const SearchProblem problem = merge_problem(n, 0, seed);
  Rng rng(seed, 5);
  Point best(2 * n, 0.0);
  double least = pool.base_loss(0, search_split);
  const std::uint64_t count = calls / EvoPool::split_sizes[search_split];
  for (std::uint64_t i = 0; i < count; ++i) {
    Point point = problem.space.sample(rng);
    const double loss = measure_merge(pool, {point}).objectives[0].value;
    if (loss >= least) continue;
    least = loss;
    best = std::move(point);
  }
  std::printf("%llu %.6f 0 0 0\n", static_cast<unsigned long long>(calls),
              gap_closed(pool, report_loss(pool, best)));
  return 0;
}

int serve(std::size_t n, std::uint64_t seed) {
  const EvoPool pool = pool_for(n, seed);
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream in(line);
    Candidate candidate;
    in >> candidate.replicate;
    for (double x = 0; in >> x;) candidate.point.push_back(x);
    const double loss = measure_merge(pool, candidate).objectives[0].value;
    std::printf("%.9g %.6f\n", loss, gap_closed(pool, loss));
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace
}  // namespace paretod

int main(int argc, char** argv) {
  using namespace paretod;
  const std::string verb = argc < 4 ? "" : argv[1];
  const auto number = [&](int i) { return std::strtoull(argv[i], nullptr, 10); };
  if (verb == "serve") return serve(number(2), number(3));
  if (verb == "random" && argc == 5) return run_random(number(2), number(3), number(4));
  if (verb == "nsga2" && argc == 6) {
    return run_nsga2(number(2), number(3), number(4), number(5));
  }
  if (verb == "run" && argc >= 5) {
    return run(number(2), number(3), number(4), params_from(argc - 5, argv + 5));
  }
  std::fprintf(stderr, "see the head of evo_bench.cpp\n");
  return 2;
}
