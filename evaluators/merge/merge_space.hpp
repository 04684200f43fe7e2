#pragma once
// Which numbers of a recipe a search chooses, as parameters of a search space, and back.  A
// parameter is named by what it is, the group if there are any, and the source: "weight.math",
// "weight.attention.math", "lambda", "t.attention"; tensors of no group are the group "other".
// Numbers that are not searched stay as the recipe has them.
//
// Immutable; any thread.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "evaluators/merge/merge_recipe.hpp"
#include "optimizers/core/params.hpp"
#include "optimizers/core/space.hpp"
#include "optimizers/core/trial.hpp"

namespace paretod {

struct MergeSearchSpec {
  std::vector<std::string> search{"weight"};
  std::string coefficients = "free";
  double weight_low = 0;
  double weight_high = 1;
  double density_low = 0.05;
  double density_high = 1;
  double lambda_low = 0;
  double lambda_high = 2;
};

class MergeSpace {
 public:
  /// Problems point into the evaluator's block: "/search/1", "/coefficients", "/weight_low".
  static Result<MergeSpace> make(MergeRecipe recipe, const MergeSources& sources,
                                 const MergeSearchSpec& search);

  [[nodiscard]] const std::vector<Parameter>& parameters() const { return parameters_; }
  [[nodiscard]] const MergeRecipe& recipe() const { return recipe_; }
  /// The numbers of a point of a job's space, which has these parameters in any order.  Random
  /// masks of replicate 0 are those of the recipe's seed, others are independent of them.
  [[nodiscard]] MergeCandidate numbers(const SearchSpace& space, const Candidate& candidate) const;
  /// The recipe with those numbers.
  [[nodiscard]] MergeRecipe recipe_of(const SearchSpace& space, const Candidate& candidate) const;

 private:
  enum class What { weight, density, lambda, t };
  /// Where a parameter's value goes.
  struct Target {
    What what = What::weight;
    std::size_t group = 0;
    std::size_t source = 0;  ///< the first, where a parameter has all of them
  };
  void add(What what, const std::string& name, std::size_t group, double low, double high);

  MergeRecipe recipe_;
  std::vector<Parameter> parameters_;
  std::vector<Target> targets_;  ///< of each parameter
};

}  // namespace paretod
