// The example of config/examples/data/specialists as a problem: real classifiers, merged by task
// arithmetic and scored natively on the examples of the search, as the evaluator "merge" does.

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "evaluators/merge/classifier_scorer.hpp"
#include "evaluators/merge/merge_engine.hpp"
#include "evaluators/merge/merge_outputs.hpp"
#include "evaluators/merge/merge_recipe.hpp"
#include "tests/bench/map_problem.hpp"

namespace paretod {
namespace {

class Specialists final : public MapProblem {
 public:
  Specialists(std::shared_ptr<const MergeSources> sources, std::unique_ptr<MergeEngine> engine,
              std::unique_ptr<MergedScorer> scorer)
      : tasks_(sources->source_count()),
        engine_(std::move(engine)),
        scorer_(std::move(scorer)),
        examples_(scorer_->describe().default_fidelity),
        output_(sources->layouts(), 1) {}

  void truth(const double* x, double* out) const override {
    MergeCandidate candidate;
    candidate.groups.push_back({{x, x + tasks_}, std::vector<double>(tasks_, 1), 1, 0.5});
    const bool merged = engine_->merge({&candidate, 1}, output_).ok();
    const Outcome outcome =
        scorer_->score(MergedWeights(output_.tensors(0)), {{}, examples_}, {}, never_);
    if (!merged || outcome.objectives.size() != tasks_) std::abort();
    for (std::size_t k = 0; k < tasks_; ++k) out[k] = outcome.objectives[k].value;
  }
  /// The same examples every time: nothing is random.
  void measure(const double* x, double* out) const override { truth(x, out); }
  [[nodiscard]] std::size_t dimension() const override { return tasks_; }
  [[nodiscard]] double floor() const override { return 0.5; }

 private:
  std::size_t tasks_;
  std::unique_ptr<MergeEngine> engine_;
  std::unique_ptr<MergedScorer> scorer_;
  std::uint64_t examples_;
  mutable MemoryOutput output_;
  const std::atomic<bool> never_{false};
};

std::unique_ptr<MapProblem> refuse(const Error& error) {
  std::fprintf(stderr, "%s\n", error.text().c_str());
  return nullptr;
}

}  // namespace

std::unique_ptr<MapProblem> specialists_problem(const std::string& which,
                                                const std::string& folder) {
  const auto recipe = load_recipe(folder + "/merge-" + which + ".json");
  if (!recipe) return refuse(recipe.error());
  auto opened = MergeSources::open(recipe->paths, recipe->rule, DType::f32);
  if (!opened) return refuse(opened.error());
  const auto sources = std::make_shared<const MergeSources>(std::move(*opened));
  auto engine = cpu_merge_engine(sources, recipe->rule);
  if (!engine) return refuse(engine.error());
  const std::string tasks = which == "four" ? "four" : "two";
  auto scorer = classifier_scorer(folder + "/" + tasks + "-tasks.json");
  if (!scorer) return refuse(scorer.error());
  return std::make_unique<Specialists>(sources, std::move(*engine), std::move(*scorer));
}

}  // namespace paretod
